// Downloads content with proofs by skyd's own client, verifies it, and writes the bytes to stdout.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"gitlab.com/SkynetLabs/skyd/node/api"
	"gitlab.com/SkynetLabs/skyd/node/api/client"
	"gitlab.com/SkynetLabs/skyd/skymodules"
	"go.sia.tech/siad/crypto"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 && len(args) != 4 {
		return errors.New("usage: skyd-trustless HOST:PORT SKYLINK [OFFSET LENGTH]   (without a part: the base sector)")
	}
	var skylink skymodules.Skylink
	if err := skylink.LoadString(args[1]); err != nil {
		return err
	}
	portal := client.New(client.Options{Address: args[0], UserAgent: "Sia-Agent"})
	if len(args) == 2 {
		return baseSector(portal, skylink)
	}
	offset, err := strconv.ParseUint(args[2], 10, 64)
	if err != nil {
		return err
	}
	length, err := strconv.ParseUint(args[3], 10, 64)
	if err != nil {
		return err
	}
	return part(portal, skylink, offset, length)
}

// The client returns the bytes and the proof. Its caller verifies them.
func baseSector(portal *client.Client, skylink skymodules.Skylink) error {
	data, proof, header, err := portal.SkynetDownloadByRootRawWithHeaderGet(skylink, -1)
	if err != nil {
		return err
	}
	if skylink.IsSkylinkV2() {
		var chain []api.RegistryHandlerGET
		if err := json.Unmarshal([]byte(header.Get(api.SkynetProofHeader)), &chain); err != nil {
			return err
		}
		// It verifies the signatures and the links between entries. The first entry is verified here.
		if len(chain) == 0 || skymodules.NewSkylinkV2(chain[0].PublicKey, chain[0].DataKey) != skylink {
			return errors.New("the proof does not begin with the skylink")
		}
		if skylink, err = client.VerifyResolverProof(chain); err != nil {
			return err
		}
	}
	offset, size, err := skylink.OffsetAndFetchSize()
	if err != nil {
		return err
	}
	first, last := int(offset/crypto.SegmentSize), int((offset+size)/crypto.SegmentSize)
	if !crypto.VerifyRangeProof(data, proof, first, last, skylink.MerkleRoot()) {
		return errors.New("the proof of the base sector is not valid")
	}
	_, err = os.Stdout.Write(data)
	return err
}

func part(portal *client.Client, skylink skymodules.Skylink, offset, length uint64) error {
	download, err := portal.SkylinkTrustlessDownload(skylink, offset, length)
	if err != nil {
		return err
	}
	if _, err := io.Copy(os.Stdout, download); err != nil {
		return err
	}
	return download.Close()
}
