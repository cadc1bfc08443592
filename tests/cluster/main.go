// Command cluster is a whole Kubernetes control plane, and its client, in one
// binary: the first argument says which of its programs to be.
//
// No registry of Go modules serves these programs as binaries, and one binary
// shares its link time and its disk among all of them.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
)

// What runs pods, where it is built in: node.go has it.
var forPods = map[string]func() *cobra.Command{}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintf(os.Stderr, "usage: %s etcd|kube-apiserver|kube-controller-manager|kubectl [flags]\n", filepath.Base(os.Args[0]))
		os.Exit(2)
	}
	program := os.Args[1]
	// The programs read os.Args themselves, so each must see its own name first.
	os.Args = append([]string{program}, os.Args[2:]...)

	switch program {
	case "etcd":
		etcdmain.Main(os.Args)
	case "kube-apiserver":
		run(apiserver.NewAPIServerCommand())
	case "kube-controller-manager":
		run(controllermanager.NewControllerManagerCommand())
	case "kubectl":
		if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
			// kubectl's own error format and exit codes: scripts read both.
			kubectlutil.CheckErr(err)
		}
	default:
		command, found := forPods[program]
		if !found {
			fmt.Fprintf(os.Stderr, "unknown program %q\n", program)
			os.Exit(2)
		}
		run(command())
	}
}

func run(command *cobra.Command) {
	os.Exit(cli.Run(command))
}
