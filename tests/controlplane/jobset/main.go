// Command jobset runs the controller of JobSets that the JobSet project publishes, and nothing
// else of it: no webhooks, so what they would fill in must be written out.
package main

import (
	"os"

	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	jobset "sigs.k8s.io/jobset/api/jobset/v1alpha2"
	"sigs.k8s.io/jobset/pkg/controllers"
)

func main() {
	ctrl.SetLogger(klog.Background())
	if err := run(); err != nil {
		klog.ErrorS(err, "the controller of JobSets ended")
		os.Exit(1)
	}
}

// run goes by the kubeconfig that the flag or the environment names, until it is told to stop.
func run() error {
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(jobset.AddToScheme(scheme))
	config, err := ctrl.GetConfig()
	if err != nil {
		return err
	}
	manager, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:  scheme,
		Metrics: metricsserver.Options{BindAddress: "0"},
	})
	if err != nil {
		return err
	}
	stop := ctrl.SetupSignalHandler()
	if err := controllers.SetupJobSetIndexes(stop, manager.GetFieldIndexer()); err != nil {
		return err
	}
	reconciler := controllers.NewJobSetReconciler(
		manager.GetClient(), manager.GetScheme(), manager.GetEventRecorder("jobset"))
	if err := reconciler.SetupWithManager(manager); err != nil {
		return err
	}
	return manager.Start(stop)
}
