/** Real senders with tokens and certificates of their own, over TLS: what they send is stored, and under their namespace. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { credentials, Metadata } from '@grpc/grpc-js';
import { OTLPMetricExporter as GrpcExporter } from '@opentelemetry/exporter-metrics-otlp-grpc';
import { OTLPMetricExporter as ProtoExporter } from '@opentelemetry/exporter-metrics-otlp-proto';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { MeterProvider, PeriodicExportingMetricReader, type PushMetricExporter } from '@opentelemetry/sdk-metrics';
import { type Test, test } from 'tap';
import { labelValue } from '../../src/model/labels.ts';
import { metric, stored } from '../ingest/support.ts';
import { DoorsSite } from '../support/doors.ts';
import { skipWithout, startPrometheusAgent } from '../support/real-programs.ts';
import { waitFor } from '../support/wait.ts';

const TOKEN = 'a-token-of-team-a-0123456789';
const TLS =
  'tls_server_config: {cert_file: tls.crt, key_file: tls.key, client_ca_file: ca.crt, client_auth_type: VerifyClientCertIfGiven}';
const WEB_FILE = `${TLS}
tokens: [{name: agent, file: token, namespace: team-a, roles: [write]}]
clients: [{name: collector, common_name: collector, namespace: team-b, roles: [write]}]
`;

function site(t: Test) {
  const one = new DoorsSite();
  t.teardown(() => one.close());
  one.write('token', TOKEN);
  const authority = one.writeCertificates();
  one.open(WEB_FILE);
  return { one, ...authority };
}

/** `host:port` of something to scrape. */
async function exporter(t: Test): Promise<string> {
  const server = createServer((_request, reply) => void reply.end('demo{namespace="other"} 1\n'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test('a Prometheus agent with authorization and tls_config', { skip: skipWithout('prometheus') }, async (t) => {
  const { one, client } = site(t);
  const target = await exporter(t);
  const web = await one.web();
  const own = client({ commonName: 'collector' });
  one.write('client.crt', own.certPem);
  one.write('client.key', own.keyPem);
  const ca = { ca_file: `${one.folder}/ca.crt` };
  const ways = {
    'team-a': { authorization: { credentials_file: `${one.folder}/token` }, tls_config: ca },
    'team-b': { tls_config: { ...ca, cert_file: `${one.folder}/client.crt`, key_file: `${one.folder}/client.key` } },
    '': { authorization: { credentials: 'not-the-token-of-anybody' }, tls_config: ca },
  };
  for (const [namespace, remoteWrite] of Object.entries(ways)) {
    const labels = { sender: namespace || 'nobody' };
    const agent = await startPrometheusAgent({
      target,
      labels,
      remoteWriteUrl: `https://${web}/api/v1/write`,
      remoteWrite,
    });
    t.teardown(() => agent.stop());
    const isThere = () =>
      namespace === ''
        ? (metric(one.registry, 'tidegauge_auth_refused_total{port="web",reason="unknown"}') ?? 0) > 0
        : stored(one.bench.head).some(({ labels: all }) => labelValue(all, 'sender') === namespace);
    await waitFor(isThere, { timeoutMs: 30_000, what: `what the agent of ${labels.sender} sends` });
    await agent.stop();
  }
  const all = stored(one.bench.head);
  for (const { labels } of all)
    t.equal(labelValue(labels, 'namespace'), labelValue(labels, 'sender'), labels.join(' '));
  const demo = all.find(({ labels }) => labelValue(labels, '__name__') === 'demo')!;
  t.equal(labelValue(demo.labels, 'exported_namespace'), 'other', 'what the target says is kept');
});

test('the OpenTelemetry SDK with headers, or a certificate', async (t) => {
  const { one, caPem, client } = site(t);
  const http = await one.otlpHttp();
  const grpc = (await one.otlpGrpc()).replace('127.0.0.1', 'localhost');
  const own = client({ commonName: 'collector' });
  const [ca, key, cert] = [caPem, own.keyPem, own.certPem].map((pem) => Buffer.from(pem));
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${TOKEN}`);
  const export1 = async (name: string, exporterOf: PushMetricExporter): Promise<void> => {
    const reader = new PeriodicExportingMetricReader({ exporter: exporterOf, exportIntervalMillis: 3_600_000 });
    const resource = resourceFromAttributes({ 'service.name': name, 'k8s.namespace.name': 'other' });
    const provider = new MeterProvider({ resource, readers: [reader] });
    provider.getMeter('m').createCounter('requests').add(1, { namespace: 'other' });
    await provider.forceFlush();
    await provider.shutdown();
  };
  const headers = { authorization: `Bearer ${TOKEN}` };
  await export1(
    'http',
    new ProtoExporter({ url: `https://${http}/v1/metrics`, headers, httpAgentOptions: { ca: caPem } }),
  );
  await export1('grpc', new GrpcExporter({ url: `https://${grpc}`, metadata, credentials: credentials.createSsl(ca) }));
  await export1(
    'mtls',
    new GrpcExporter({ url: `https://${grpc}`, credentials: credentials.createSsl(ca, key, cert) }),
  );
  const got = stored(one.bench.head).map(({ labels }) => {
    const of = (name: string): string => labelValue(labels, name);
    return `${of('job')} ${of('namespace')} ${of('k8s_namespace_name')}|${of('exported_k8s_namespace_name')}`;
  });
  t.strictSame([...new Set(got)].sort(), ['grpc team-a |other', 'http team-a |other', 'mtls team-b |other']);
});
