// An OpenTelemetry Collector of the parts that our manifests name, for tests: the receivers, processors and exporters are the
// Collector's own. Only resourcedetection is not, because it brings the libraries of every cloud: what stands in its place knows
// the one detector that our manifests use, env.
package main

import (
	"context"
	"os"
	"strings"

	"github.com/open-telemetry/opentelemetry-collector-contrib/processor/filterprocessor"
	"github.com/open-telemetry/opentelemetry-collector-contrib/receiver/prometheusreceiver"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/provider/envprovider"
	"go.opentelemetry.io/collector/confmap/provider/fileprovider"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/otlpexporter"
	"go.opentelemetry.io/collector/otelcol"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/batchprocessor"
	"go.opentelemetry.io/collector/processor/processorhelper"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	"go.opentelemetry.io/collector/service/telemetry/otelconftelemetry"
)

func components() (otelcol.Factories, error) {
	factories := otelcol.Factories{Telemetry: otelconftelemetry.NewFactory()}
	var err error
	if factories.Receivers, err = otelcol.MakeFactoryMap[receiver.Factory](prometheusreceiver.NewFactory(), otlpreceiver.NewFactory()); err != nil {
		return factories, err
	}
	if factories.Processors, err = otelcol.MakeFactoryMap[processor.Factory](batchprocessor.NewFactory(), filterprocessor.NewFactory(), detection()); err != nil {
		return factories, err
	}
	factories.Exporters, err = otelcol.MakeFactoryMap[exporter.Factory](otlpexporter.NewFactory())
	return factories, err
}

type detectionConfig struct {
	Detectors []string `mapstructure:"detectors"`
	Timeout   string   `mapstructure:"timeout"`
	Override  bool     `mapstructure:"override"`
}

func detection() processor.Factory {
	return processor.NewFactory(component.MustNewType("resourcedetection"),
		func() component.Config { return &detectionConfig{Override: true} },
		processor.WithMetrics(func(ctx context.Context, set processor.Settings, config component.Config, next consumer.Metrics) (processor.Metrics, error) {
			return processorhelper.NewMetrics(ctx, set, config, next, addEnvironment, processorhelper.WithCapabilities(consumer.Capabilities{MutatesData: true}))
		}, component.StabilityLevelBeta))
}

// addEnvironment is the detector env: attributes of the resource that OTEL_RESOURCE_ATTRIBUTES names and nobody else has set.
func addEnvironment(_ context.Context, metrics pmetric.Metrics) (pmetric.Metrics, error) {
	for _, pair := range strings.Split(os.Getenv("OTEL_RESOURCE_ATTRIBUTES"), ",") {
		name, value, found := strings.Cut(pair, "=")
		for i := 0; found && i < metrics.ResourceMetrics().Len(); i++ {
			attributes := metrics.ResourceMetrics().At(i).Resource().Attributes()
			if _, known := attributes.Get(strings.TrimSpace(name)); !known {
				attributes.PutStr(strings.TrimSpace(name), strings.TrimSpace(value))
			}
		}
	}
	return metrics, nil
}

func main() {
	command := otelcol.NewCommand(otelcol.CollectorSettings{
		BuildInfo: component.BuildInfo{Command: "otelcol"},
		Factories: components,
		ConfigProviderSettings: otelcol.ConfigProviderSettings{ResolverSettings: confmap.ResolverSettings{
			ProviderFactories: []confmap.ProviderFactory{fileprovider.NewFactory(), envprovider.NewFactory()},
		}},
	})
	if err := command.Execute(); err != nil {
		os.Exit(1)
	}
}
