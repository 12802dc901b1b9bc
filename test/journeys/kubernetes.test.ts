/**
 * docs/kubernetes.md, as somebody follows it: what its commands install is given to the built daemon, the others are run, and what
 * they print and what the HPA makes of it is what the page says.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'tap';
import { parse } from 'yaml';
import { propose } from '../../src/scaling/hpa.ts';
import { type Daemon, startDaemon } from '../support/daemon.ts';
import { kubectlFor, quantityValue, readExternalMetric } from '../support/kubectl.ts';
import type { Manifest } from '../support/manifests.ts';
import { runProgram, temporaryFolder } from '../support/process.ts';
import { skipWithout } from '../support/real-programs.ts';
import { STAND_IN_TOKEN, StandInApiServer } from '../support/stand-in-api-server.ts';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const page = readFileSync(join(root, 'docs/kubernetes.md'), 'utf8');
const skip = skipWithout('kubectl', 'curl', 'sh');

/** The text below a heading. */
function section(heading: string): string {
  const found = page.split(/^## /m).find((part) => part.startsWith(`${heading}\n`));
  if (found === undefined) throw new Error(`docs/kubernetes.md has no "${heading}"`);
  return found;
}

/** Lines of the section's commands, those that go on made one. */
function commands(text: string): readonly string[] {
  const blocks = [...text.matchAll(/^```\n([\s\S]*?)^```/gm)].map(([, block]) => block!);
  return blocks.flatMap((block) => block.replaceAll(/\\\n\s*/g, '').split('\n'));
}

function command(text: string, beginning: string): string {
  const found = commands(text).find((line) => line.startsWith(beginning));
  if (found === undefined) throw new Error(`no command begins with ${beginning}`);
  return found;
}

/** A command of the page, to the daemon's own ports. */
async function run(line: string, { listen }: Daemon, home: string): Promise<string> {
  const kubectl = `kubectl --server=https://${listen.kubernetes} --insecure-skip-tls-verify=true --token=nobody `;
  const shell = line.replace(/^kubectl /, kubectl).replace('127.0.0.1:9090', listen.web);
  const { code, stdout, stderr } = await runProgram('sh', ['-c', shell], { cwd: home, env: { HOME: home } });
  if (code !== 0) throw new Error(`${line}: ${stderr}`);
  return stdout;
}

test('one screen each', async (t) => {
  for (const heading of ['From nothing to an HPA on a PromQL expression', 'From prometheus-adapter to here'])
    t.ok(section(heading).split('\n').length <= 55, heading);
});

test('from nothing to an HPA', { skip }, async (t) => {
  const text = section('From nothing to an HPA on a PromQL expression');
  const folder = await temporaryFolder();
  t.teardown(() => folder.remove());
  const [, metrics] = /--set-json 'externalMetrics=(.*)'/.exec(command(text, 'helm install '))!;
  const file = join(folder.path, 'tidegauge.yaml');
  writeFileSync(file, `externalMetrics: ${metrics}\n`);
  const daemon = await startDaemon([`--config.file=${file}`, '--scaling.warm-up=false']);
  t.teardown(() => daemon.stop());
  await run(command(text, 'curl '), daemon, folder.path);
  const shown = (await run(command(text, 'kubectl get queue_depth'), daemon, folder.path)).trimEnd().split('\n');
  const promised = commands(text).slice(commands(text).findIndex((line) => line.startsWith('METRIC')));
  const cells = (line: string) => line.trim().split(/\s+/).slice(0, 2);
  t.strictSame(shown.map(cells), promised.slice(0, 2).map(cells), 'the table');
  const hpa = parse(/^```yaml\n(apiVersion: autoscaling[\s\S]*?)^```/m.exec(text)![1]!) as Manifest;
  const { metric, target } = hpa.spec.metrics[0].external;
  const selector = new URLSearchParams({ labelSelector: `queue=${metric.selector.matchLabels.queue}` });
  const path = `${hpa.metadata.namespace}/${metric.name}?${selector}`;
  const items = await readExternalMetric(kubectlFor(daemon.listen.kubernetes, folder.path), path);
  const valuesMilli = items.map(({ value }) => BigInt(Math.round(quantityValue(value) * 1000)));
  const averageValueMilli = BigInt(target.averageValue) * 1000n;
  const proposal = propose(
    { type: 'External', target: { averageValueMilli }, valuesMilli },
    { specReplicas: 1, statusReplicas: 1 },
  );
  const [, replicas] = /make (\d+) replicas/.exec(text)!;
  t.match(proposal, { kind: 'replicas', replicas: Number(replicas) });
});

test('from prometheus-adapter', { skip }, async (t) => {
  const text = section('From prometheus-adapter to here');
  const folder = await temporaryFolder();
  t.teardown(() => folder.remove());
  const [, flag, from] = /--set-file (kubernetesApi\.adapterConfigText)=(\S+)/.exec(command(text, 'helm install '))!;
  t.equal(flag, 'kubernetesApi.adapterConfigText');
  // What the first command would have written.
  t.match(command(text, 'kubectl -n monitoring get configmap'), `> ${from}`);
  writeFileSync(join(folder.path, from!), readFileSync(join(root, 'examples/prometheus-adapter/config.yaml')));
  const [, ...checkConfig] = command(text, 'tidegauge ').split(' ');
  const checked = await runProgram(process.execPath, [join(root, 'dist/main.js'), ...checkConfig], {
    cwd: folder.path,
  });
  t.equal(checked.code, 0, checked.stdout + checked.stderr);

  const api = new StandInApiServer({ allows: () => ({ allowed: true }), token: () => ({}) });
  const { url, caPem } = await api.open();
  t.teardown(() => api.close());
  const cluster = { server: url, 'certificate-authority-data': Buffer.from(caPem!).toString('base64') };
  const kubeconfig = join(folder.path, 'kubeconfig');
  const contexts = [{ name: 'c', context: { cluster: 'k', user: 'u' } }];
  const users = [{ name: 'u', user: { token: STAND_IN_TOKEN } }];
  const config = { 'current-context': 'c', contexts, clusters: [{ name: 'k', cluster }], users };
  writeFileSync(kubeconfig, JSON.stringify(config));
  for (const [name, app] of [
    ['a', 'api'],
    ['b', 'api'],
    ['c', 'other'],
  ] as const)
    api.put('/api/v1/pods', { metadata: { namespace: 'shop', name, labels: { app } } });
  const daemon = await startDaemon([
    `--kubernetes.adapter-config=${join(folder.path, from!)}`,
    `--kubernetes.kubeconfig=${kubeconfig}`,
    '--kubernetes.auth=none',
    '--scaling.warm-up=false',
  ]);
  t.teardown(() => daemon.stop());
  const nowMs = Date.now();
  const lines = [180_000, 150_000, 120_000, 90_000, 60_000, 30_000, 0].flatMap((ageMs) =>
    ['a', 'c'].map((pod) => {
      const labels = `namespace="shop",pod="${pod}",job="api",instance="${pod}"`;
      return `http_requests_total{${labels}} ${(600_000 - ageMs) / 100} ${nowMs - ageMs}`;
    }),
  );
  const body = `${lines.join('\n')}\n`;
  const sent = await fetch(`http://${daemon.listen.web}/api/v1/import/prometheus`, { method: 'POST', body });
  t.equal(sent.status, 204);
  const answer = await run(command(text, 'kubectl get --raw '), daemon, folder.path);
  const list = JSON.parse(answer) as { items: { describedObject: { name: string }; value: string }[] };
  t.strictSame(
    list.items.map(({ describedObject: { name }, value }) => [name, Math.round(quantityValue(value))]),
    [['a', 10]],
    'of the pods that the selector fits, those that send',
  );
});
