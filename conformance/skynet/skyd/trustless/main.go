// Downloads a part of a skyfile with skyd's own client, which checks every proof on the way, and writes it to stdout.
package main

import (
	"fmt"
	"io"
	"os"
	"strconv"

	"gitlab.com/SkynetLabs/skyd/node/api/client"
	"gitlab.com/SkynetLabs/skyd/skymodules"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 4 {
		return fmt.Errorf("usage: skyd-trustless HOST:PORT SKYLINK OFFSET LENGTH")
	}
	var skylink skymodules.Skylink
	if err := skylink.LoadString(args[1]); err != nil {
		return err
	}
	offset, err := strconv.ParseUint(args[2], 10, 64)
	if err != nil {
		return err
	}
	length, err := strconv.ParseUint(args[3], 10, 64)
	if err != nil {
		return err
	}
	portal := client.New(client.Options{Address: args[0], UserAgent: "Sia-Agent"})
	download, err := portal.SkylinkTrustlessDownload(skylink, offset, length)
	if err != nil {
		return err
	}
	if _, err := io.Copy(os.Stdout, download); err != nil {
		return err
	}
	return download.Close()
}
