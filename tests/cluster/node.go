//go:build node

package main

import (
	"context"

	"github.com/spf13/cobra"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

// Only the tests on a node run these; the rest is built in less time without.
func init() {
	forPods["kube-scheduler"] = func() *cobra.Command { return scheduler.NewSchedulerCommand() }
	forPods["kubelet"] = func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) }
}
