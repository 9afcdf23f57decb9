// Runs a whole Skynet in one process: five hosts, a miner and a portal, by skyd's testing build with 4 KiB sectors.
// Prints two addresses: skyd's own API, and the front.
package main

import (
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"gitlab.com/SkynetLabs/skyd/siatest"
	"go.sia.tech/siad/modules"
	"go.sia.tech/siad/modules/host/contractmanager"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatalf("usage: %s FOLDER FRONT-ADDRESS", os.Args[0])
	}
	// The hosts and the miner listen on all interfaces, so only loopback may exist.
	if err := onlyLoopback(); err != nil {
		log.Fatal(err)
	}
	group, err := siatest.NewGroupFromTemplate(os.Args[1], siatest.GroupParams{Hosts: 5, Miners: 1, Portals: 1})
	if err != nil {
		log.Fatal(err)
	}
	if err := makeRoom(group.Hosts()); err != nil {
		log.Fatal(err)
	}
	portal := group.Portals()[0]
	_, port, err := net.SplitHostPort(portal.APIAddress())
	if err != nil {
		log.Fatal(err)
	}
	api := net.JoinHostPort("127.0.0.1", port)
	listener, err := net.Listen("tcp", os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	go func() { log.Fatal(http.Serve(listener, front(api, portal.Password))) }()
	fmt.Printf("api http://%s password %s\n", api, portal.Password)
	fmt.Printf("front http://%s\n", listener.Addr())
	end := make(chan os.Signal, 1)
	signal.Notify(end, os.Interrupt, syscall.SIGTERM)
	<-end
	if err := group.Close(); err != nil {
		log.Fatal(err)
	}
}

// makeRoom gives each host the largest possible folder, 16 MiB. The default of 1 MiB is full before all rows have run:
// then an upload fails after five minutes, without a reason.
func makeRoom(hosts []*siatest.TestNode) error {
	for _, host := range hosts {
		size := contractmanager.MaximumSectorsPerStorageFolder * modules.SectorSize
		if err := host.HostStorageFoldersResizePost(host.Dir, size); err != nil {
			return err
		}
	}
	return nil
}

func onlyLoopback() error {
	interfaces, err := net.Interfaces()
	if err != nil {
		return err
	}
	for _, one := range interfaces {
		if one.Flags&net.FlagLoopback == 0 && one.Flags&net.FlagUp != 0 {
			return fmt.Errorf("%s is up: run this in a network namespace of its own (unshare --net)", one.Name)
		}
	}
	return nil
}
