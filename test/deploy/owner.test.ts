/**
 * Who owns the Kubernetes metrics APIs of a cluster: helm itself looks at a stand-in for the API server, as it does on an
 * installation, and the chart refuses what would take an APIService from somebody else.
 */
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Test, test } from 'tap';
import { parseManifests } from '../support/manifests.ts';
import { type Finished, runProgram, temporaryFolder } from '../support/process.ts';
import { skipWithout } from '../support/real-programs.ts';
import { STAND_IN_TOKEN, StandInApiServer } from '../support/stand-in-api-server.ts';

const CHART = join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'deploy/helm/tidegauge');
const LIST = '/apis/apiregistration.k8s.io/v1/apiservices';
const EXTERNAL = 'v1beta1.external.metrics.k8s.io';

/** What the chart makes in this test. */
const KINDS = [
  ['apiregistration.k8s.io/v1', 'APIService', false],
  ['v1', 'Service', true],
  ['v1', 'ServiceAccount', true],
  ['v1', 'ConfigMap', true],
  ['apps/v1', 'Deployment', true],
  ['policy/v1', 'PodDisruptionBudget', true],
  ['rbac.authorization.k8s.io/v1', 'ClusterRole', false],
  ['rbac.authorization.k8s.io/v1', 'ClusterRoleBinding', false],
  ['rbac.authorization.k8s.io/v1', 'Role', true],
  ['rbac.authorization.k8s.io/v1', 'RoleBinding', true],
] as const;

const TAKE_OVER = '--set=kubernetesApi.apiServices.takeOver=true';

interface Owner {
  readonly namespace: string;
  readonly name: string;
}

const KEDA: Owner = { namespace: 'keda', name: 'keda-operator-metrics-apiserver' };
const OURS: Owner = { namespace: 'monitoring', name: 'tidegauge-kubernetes' };
/** What helm writes on objects of its releases, and looks for on those that it finds. */
const RELEASE = {
  labels: { 'app.kubernetes.io/managed-by': 'Helm' },
  annotations: { 'meta.helm.sh/release-name': 'tidegauge', 'meta.helm.sh/release-namespace': 'monitoring' },
};

/** `helm template` of the chart with the external metrics API, in a cluster in which this Service has that API. */
async function rendered(t: Test, owner: Owner | null, ...flags: readonly string[]): Promise<Finished> {
  const api = new StandInApiServer({ allows: () => ({ allowed: true }), token: () => ({}) });
  api.describe([
    ...KINDS.map(([groupVersion, kind, namespaced]) => {
      return { groupVersion, kind, namespaced, name: `${kind.toLowerCase()}s` };
    }),
    { groupVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy', namespaced: true, name: 'networkpolicies' },
  ]);
  const { url, caPem } = await api.open();
  t.teardown(() => api.close());
  if (owner !== null) {
    const kind = { kind: 'APIService', apiVersion: 'apiregistration.k8s.io/v1' };
    const metadata = { name: EXTERNAL, ...(owner.namespace === OURS.namespace ? RELEASE : {}) };
    api.put(LIST, { ...kind, metadata, spec: { service: owner } });
  }
  const folder = await temporaryFolder();
  t.teardown(() => folder.remove());
  const caFile = join(folder.path, 'ca.crt');
  writeFileSync(caFile, caPem!);
  const cluster = [`--kube-apiserver=${url}`, `--kube-token=${STAND_IN_TOKEN}`, `--kube-ca-file=${caFile}`];
  const wished = ['--namespace=monitoring', '--set=kubernetesApi.apiServices.external=true', ...flags];
  const args = [
    'template',
    'tidegauge',
    CHART,
    '--dry-run=server',
    '--disable-openapi-validation',
    ...cluster,
    ...wished,
  ];
  return runProgram('helm', args, { env: { HOME: folder.path } });
}

function taken(done: Finished): readonly string[] {
  return parseManifests(done.stdout)
    .filter(({ kind }) => kind === 'APIService')
    .map(({ metadata }) => metadata.name);
}

test('an APIService has one owner in a cluster', { skip: skipWithout('helm'), timeout: 300_000 }, async (t) => {
  const free = await rendered(t, null);
  t.equal(free.code, 0, free.stderr);
  t.strictSame(taken(free), [EXTERNAL], 'nobody has it');

  const refused = await rendered(t, KEDA);
  t.not(refused.code, 0, 'KEDA has it');
  t.match(refused.stderr, `APIService ${EXTERNAL} belongs to Service keda/keda-operator-metrics-apiserver`);
  t.match(refused.stderr, 'takeOver=true and call helm with --take-ownership', 'and how to take it all the same');

  const alone = await rendered(t, KEDA, TAKE_OVER);
  t.match(alone.stderr, 'cannot be imported into the current release', 'helm has a word in it, too');
  const wanted = await rendered(t, KEDA, TAKE_OVER, '--take-ownership');
  t.equal(wanted.code, 0, wanted.stderr);
  t.strictSame(taken(wanted), [EXTERNAL]);

  const again = await rendered(t, OURS);
  t.equal(again.code, 0, `our own: ${again.stderr}`);
  t.strictSame(taken(again), [EXTERNAL]);
  const elsewhere = await rendered(t, { ...OURS, namespace: 'another' });
  t.match(elsewhere.stderr, `belongs to Service another/${OURS.name}`, 'the same name in another namespace is not us');
});
