package main

import (
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/embed"
)

// newEtcdCommand runs one etcd member. Its flags are a few of the stock etcd's, with the same
// names and meanings, so that one invocation serves both.
func newEtcdCommand() *cobra.Command {
	config := embed.NewConfig()
	addresses := []address{
		{"listen-client-urls", "URL on which clients are served", &config.ListenClientUrls},
		{"advertise-client-urls", "URL that clients are told", &config.AdvertiseClientUrls},
		{"listen-peer-urls", "URL on which peers are served", &config.ListenPeerUrls},
		{"initial-advertise-peer-urls", "URL that peers are told", &config.AdvertisePeerUrls},
	}
	values := make([]string, len(addresses))
	command := &cobra.Command{
		Use:          "etcd",
		SilenceUsage: true,
		RunE: func(*cobra.Command, []string) error {
			for i, address := range addresses {
				if err := address.set(values[i]); err != nil {
					return err
				}
			}
			return runEtcd(config)
		},
	}
	flags := command.Flags()
	for i, address := range addresses {
		flags.StringVar(&values[i], address.flag, "", address.help)
	}
	flags.StringVar(&config.Name, "name", config.Name, "name of this member")
	flags.StringVar(&config.Dir, "data-dir", "", "directory for the data")
	flags.StringVar(&config.InitialCluster, "initial-cluster", "", "NAME=URL of every member")
	flags.StringVar(&config.LogLevel, "log-level", config.LogLevel, "debug, info, warn, error, panic or fatal")
	flags.BoolVar(&config.UnsafeNoFsync, "unsafe-no-fsync", false, "do not sync the data to the disk")
	return command
}

// address is a flag with one URL, and the place in etcd's configuration where it goes.
type address struct {
	flag, help string
	urls       *[]url.URL
}

func (a address) set(value string) error {
	parsed, err := url.Parse(value)
	if err != nil || parsed.Host == "" {
		return fmt.Errorf("--%s: %q is not a URL with a host", a.flag, value)
	}
	*a.urls = []url.URL{*parsed}
	return nil
}

func runEtcd(config *embed.Config) error {
	server, err := embed.StartEtcd(config)
	if err != nil {
		return err
	}
	defer server.Close()

	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, os.Interrupt)
	select {
	case <-server.Server.ReadyNotify():
	case <-time.After(30 * time.Second):
		return fmt.Errorf("etcd was not ready within 30 s")
	case <-stop:
		return nil
	}
	select {
	case err := <-server.Err():
		return err
	case <-stop:
		return nil
	}
}
