// Command controlplane is etcd, kube-apiserver, kube-controller-manager, kube-scheduler or
// kubectl, by the name it is called with or by its first argument. It exists for tests, benchmarks and
// the demo: the real programs, as ordinary Go dependencies, in one file.
package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

const usage = "usage: controlplane etcd|kube-apiserver|kube-controller-manager|kube-scheduler|kubectl [flags]"

func main() {
	program := filepath.Base(os.Args[0])
	if command(program) == nil && len(os.Args) > 1 {
		program = os.Args[1]
		os.Args = os.Args[1:]
	}
	build := command(program)
	if build == nil {
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	if os.Getenv("PRORATA_EXIT_WITH_STDIN") == "1" {
		go exitWithStdin()
	}
	// Only the command that was asked for is built: they share global flags and feature gates.
	os.Exit(cli.Run(build()))
}

// exitWithStdin ends this process when its owner is gone: the kernel closes the owner's end
// of the pipe, whatever it died of, so that no signal handler of the owner is needed.
func exitWithStdin() {
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(1)
}

func command(program string) func() *cobra.Command {
	switch program {
	case "etcd":
		return newEtcdCommand
	case "kube-apiserver":
		return func() *cobra.Command { return apiserver.NewAPIServerCommand() }
	case "kube-controller-manager":
		return controllermanager.NewControllerManagerCommand
	case "kube-scheduler":
		return func() *cobra.Command { return scheduler.NewSchedulerCommand() }
	case "kubectl":
		return kubectl.NewDefaultKubectlCommand
	}
	return nil
}
