/** Who asks and whether they may, case by case: chains of certificates, headers, tokens, reviews and whom the cluster says to trust. */
import { X509Certificate } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import pino from 'pino';
import { type Test, test } from 'tap';
import { createAuthority, issueCertificate } from '../../../src/api/kubernetes/certificate.ts';
import { ClusterClient, ClusterError } from '../../../src/api/kubernetes/cluster/client.ts';
import { attributesOf, reviewAttributes } from '../../../src/api/kubernetes/identity/attributes.ts';
import { authenticate, type Credentials, tokenReviewer } from '../../../src/api/kubernetes/identity/authenticate.ts';
import { accessReviewer } from '../../../src/api/kubernetes/identity/authorize.ts';
import { isIssuedBy, parseBundle } from '../../../src/api/kubernetes/identity/chain.ts';
import { gatekeeper } from '../../../src/api/kubernetes/identity/gatekeeper.ts';
import { review } from '../../../src/api/kubernetes/identity/retry.ts';
import { type Trust, trustOfConfigMap, WatchedTrust } from '../../../src/api/kubernetes/identity/trust.ts';
import { writtenRequirements } from '../../../src/api/kubernetes/label-selector.ts';
import { Registry } from '../../../src/telemetry/registry.ts';
import { TestClock } from '../../support/clock.ts';
import { runProgram, temporaryFolder } from '../../support/process.ts';
import { skipWithout } from '../../support/real-programs.ts';
import { StandInApiServer, type StandInOptions } from '../../support/stand-in-api-server.ts';
import { waitFor } from '../../support/wait.ts';

const NOW_MS = Date.UTC(2026, 10, 21, 10);
const DAY_MS = 86_400_000;
const silent = pino({ level: 'silent' });
const proxies = createAuthority(NOW_MS);
const clients = createAuthority(NOW_MS);

function issued(
  authority: { readonly certPem: string; readonly keyPem: string },
  commonName: string,
  {
    usage = 'client',
    atMs = NOW_MS,
    organizations = [],
  }: Partial<{ usage: 'client' | 'server'; atMs: number; organizations: readonly string[] }> = {},
) {
  const { certPem, keyPem } = issueCertificate(authority, { commonName, organizations, usage, nowMs: atMs, days: 30 });
  return { certPem, keyPem, certificate: new X509Certificate(certPem) };
}

test('whom a chain of certificates convinces', async (t) => {
  const authorities = parseBundle(clients.certPem + proxies.certPem);
  const f = (want: boolean, name: string, chain: readonly X509Certificate[], atMs = NOW_MS) =>
    t.equal(isIssuedBy(chain, authorities, atMs), want, name);
  const leaf = issued(proxies, 'front-proxy-client');
  f(true, 'a leaf of one of the bundle', [leaf.certificate]);
  f(false, 'nothing', []);
  f(false, 'before it holds', [leaf.certificate], NOW_MS - DAY_MS);
  f(false, 'after it held', [leaf.certificate], NOW_MS + 31 * DAY_MS);
  f(false, 'a leaf for servers', [issued(proxies, 'front-proxy-client', { usage: 'server' }).certificate]);
  f(false, 'one of somebody else', [issued(createAuthority(NOW_MS), 'front-proxy-client').certificate]);
  // Whoever has a certificate could make others, if any certificate were taken for an authority.
  const made = issued(leaf, 'front-proxy-client');
  f(false, 'one that was signed by a leaf', [made.certificate, leaf.certificate]);
  f(
    false,
    'one that brings its own authority',
    [issued(clients, 'x').certificate].map(() => new X509Certificate(createAuthority(NOW_MS).certPem)),
  );
});

test('authorities between', { skip: skipWithout('openssl') }, async (t) => {
  const folder = await temporaryFolder();
  t.teardown(() => folder.remove());
  const at = (name: string) => join(folder.path, name);
  const openssl = async (...args: readonly string[]) => {
    const done = await runProgram('openssl', args, { cwd: folder.path });
    if (done.code !== 0) throw new Error(done.stderr);
  };
  writeFileSync(at('ca.ext'), 'basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n');
  writeFileSync(at('leaf.ext'), 'basicConstraints=critical,CA:FALSE\nextendedKeyUsage=clientAuth\n');
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  await openssl('req', '-x509', ...key, '-keyout', 'root.key', '-out', 'root.crt', '-subj', '/CN=root', '-days', '30');
  const sign = async (name: string, issuer: string, extensions: string) => {
    await openssl('req', '-new', ...key, '-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', `/CN=${name}`);
    const by = ['-CA', `${issuer}.crt`, '-CAkey', `${issuer}.key`, '-CAcreateserial', '-extfile', extensions];
    await openssl('x509', '-req', '-in', `${name}.csr`, '-out', `${name}.crt`, '-days', '30', ...by);
  };
  await sign('upper', 'root', 'ca.ext');
  await sign('lower', 'upper', 'ca.ext');
  await sign('leaf', 'lower', 'leaf.ext');
  const [root, upper, lower, leaf] = ['root', 'upper', 'lower', 'leaf'].map(
    (name) => new X509Certificate(readFileSync(at(`${name}.crt`), 'utf8')),
  ) as [X509Certificate, X509Certificate, X509Certificate, X509Certificate];
  const f = (want: boolean, chain: readonly X509Certificate[], atMs = Date.now()) =>
    t.equal(isIssuedBy(chain, [root], atMs), want, chain.map(({ subject }) => subject).join());
  f(true, [leaf, lower, upper]);
  f(true, [leaf, upper, lower]);
  f(true, [leaf, upper, lower, root]);
  f(false, [leaf, lower]);
  f(false, [leaf, upper]);
  f(false, [leaf]);
  f(false, [leaf, lower, upper], Date.now() + 31 * DAY_MS);
});

const TRUST: Trust = trustOfConfigMap({
  'client-ca-file': clients.certPem,
  'requestheader-client-ca-file': proxies.certPem,
  'requestheader-allowed-names': '["front-proxy-client"]',
  'requestheader-username-headers': '["X-Remote-User","X-Old-User"]',
  'requestheader-group-headers': '["X-Remote-Group","X-Old-Group"]',
  'requestheader-extra-headers-prefix': '["X-Remote-Extra-","X-Old-Extra-"]',
});

type Headers = Readonly<Record<string, readonly string[]>>;

/** `name|uid|groups|extra`, or the code of the refusal. */
async function whoIs(chain: readonly X509Certificate[], headers: Headers, trust: Trust = TRUST): Promise<string> {
  const credentials: Credentials = { chain, headers };
  const robot = { name: 'robot', uid: 'u-1', groups: [], extra: {} };
  const reviewToken = async (token: string) => (token === 'good' ? robot : null);
  try {
    const user = await authenticate(credentials, { trust: () => trust, reviewToken, clock: new TestClock(NOW_MS) });
    const extra = Object.entries(user.extra).map(([key, values]) => `${key}=${values.join('+')}`);
    return [user.name, user.uid, user.groups.join(), extra.join()].join('|');
  } catch (error) {
    return String((error as { readonly httpStatus: number }).httpStatus);
  }
}

test('who asks: front proxy, then client certificate, then token, then nobody', async (t) => {
  const proxy = [issued(proxies, 'front-proxy-client').certificate];
  const f = async (want: string, chain: readonly X509Certificate[], headers: Headers, trust?: Trust) =>
    t.equal(await whoIs(chain, headers, trust), want, JSON.stringify(headers));
  const known = 'system:authenticated';
  const u = { 'x-remote-user': ['u'] };
  await f(`u||${known}|`, proxy, u);
  await f(`u||a,b, system:masters,c,${known}|`, proxy, {
    ...u,
    'x-remote-group': ['a', 'b, system:masters', ''],
    'x-old-group': ['c'],
  });
  await f(`old||${known}|`, proxy, { 'x-remote-user': [''], 'x-old-user': ['old'] });
  await f(`u||${known}|`, proxy, { ...u, 'x-remote-group': [known] });
  await f(`u||${known}|`, proxy, { ...u, 'x-remote-uid': ['forged'] });
  const withUid = { ...TRUST, requestHeader: { ...TRUST.requestHeader!, uidHeaders: ['x-remote-uid'] } };
  await f(`u|id-7|${known}|`, proxy, { ...u, 'x-remote-uid': ['id-7'] }, withUid);
  await f(`u||${known}|example.org/Team=a+b,%zz=c,scopes=d+e`, proxy, {
    ...u,
    'x-remote-extra-example.org%2f%54eam': ['a', 'b'],
    'x-remote-extra-%zz': ['c'],
    'x-remote-extra-scopes': ['d'],
    'x-old-extra-scopes': ['e'],
    'x-else-scopes': ['f'],
  });
  await f('401', proxy, { 'x-remote-user': [''] });
  await f('401', [issued(proxies, 'another').certificate], u);
  const anyName = { ...TRUST, requestHeader: { ...TRUST.requestHeader!, allowedNames: [] } };
  await f(`u||${known}|`, [issued(proxies, 'another').certificate], u, anyName);
  // A user's certificate speaks for the user alone, whatever the user is called.
  const masters = { ...u, 'x-remote-group': ['system:masters'] };
  await f(`front-proxy-client||${known}|`, [issued(clients, 'front-proxy-client').certificate], masters);
  await f(`jane||devs,ops,${known}|`, [issued(clients, 'jane', { organizations: ['devs', 'ops'] }).certificate], {});
  await f('401', [issued(clients, '').certificate], {});
  await f('401', [issued(createAuthority(NOW_MS), 'front-proxy-client').certificate], masters);
  const noProxy = { ...TRUST, requestHeader: null };
  await f('401', proxy, masters, noProxy);
  await f(`jane||${known}|`, [issued(clients, 'jane').certificate], masters, noProxy);
  const token = (text: string) => ({ authorization: [text] });
  await f(`robot|u-1|${known}|`, [], token('Bearer good'));
  await f(`robot|u-1|${known}|`, [], token('bearer   good'));
  await f(`robot|u-1|${known}|`, [issued(createAuthority(NOW_MS), 'x').certificate], token('Bearer good'));
  await f('401', [], token('Bearer bad'));
  await f('401', [issued(createAuthority(NOW_MS), 'x').certificate], {});
  const nobody = 'system:anonymous||system:unauthenticated|';
  await f(nobody, [], token('Basic good'));
  await f(nobody, [], token('Bearer'));
  await f(nobody, [], masters);
});

test('a review is asked for again while there is no answer', async (t) => {
  const answers = (...statuses: readonly (number | null)[]) => {
    const left = [...statuses];
    const ask = async () => {
      const status = left.shift()!;
      if (status === null) throw new ClusterError(null, 'cannot reach the API server');
      return { status, body: { said: status } };
    };
    return { ask, left };
  };
  const retries = { tries: 3, firstPauseMs: 1, random: () => 1 };
  const f = async (want: string, ...statuses: readonly (number | null)[]) => {
    const { ask, left } = answers(...statuses);
    const said = await review(ask, retries).then(
      (body) => JSON.stringify(body),
      (error: Error) => error.message,
    );
    t.match(said, want, statuses.join());
    t.equal(left.length, 0, `all of ${statuses.join()} were asked for`);
  };
  await f('{"said":201}', 201);
  await f('{"said":200}', null, 500, 200);
  await f('{"said":200}', 429, 200);
  await f('refused a review: status 503', 503, 503, 503);
  await f('cannot reach the API server', null, null, null);
  await f('refused a review: status 403', 403);
  await f('refused a review: status 422', 422);
});

async function standIn(t: Test, options: Partial<StandInOptions> = {}) {
  const api = new StandInApiServer({ allows: () => ({ allowed: true }), token: () => ({}), ...options });
  const client = new ClusterClient(await api.open());
  t.teardown(async () => {
    client.close();
    await api.close();
  });
  return { api, client };
}

const RETRIES = { tries: 2, firstPauseMs: 1, random: () => 0 };
const USER = { name: 'u', uid: '', groups: ['g'], extra: {} };

test('a yes and a no hold for ten seconds, and what failed does not', async (t) => {
  let allowed = true;
  const { api, client } = await standIn(t, {
    allows: () => ({ allowed, reason: allowed ? '' : 'RBAC: no' }),
    token: (token) => (token === 'good' ? { authenticated: true, user: { username: 'robot' } } : { error: 'unknown' }),
  });
  const clock = new TestClock(NOW_MS);
  const access = accessReviewer(client, clock, RETRIES);
  const ask = (path: string, user = USER) => access(user, attributesOf('GET', path.split('/'), false), []);
  const metric = 'apis/external.metrics.k8s.io/v1beta1/namespaces/shop/depth';
  const f = async (want: boolean, reviews: number, of = ask(metric)) => {
    t.equal((await of).allowed, want);
    t.equal(api.accessReviews.length, reviews);
  };
  await f(true, 1);
  allowed = false;
  clock.advance(10_000);
  await f(true, 1);
  clock.advance(1);
  await f(false, 2);
  allowed = true;
  clock.advance(10_000);
  await f(false, 2);
  await f(true, 3, ask(`${metric}s`));
  await f(true, 4, ask(metric, { ...USER, groups: ['h'] }));
  await f(true, 5, ask(metric, { ...USER, uid: '7' }));
  clock.advance(1);
  api.isUnreachable = true;
  await t.rejects(ask(metric), { httpStatus: 500, message: /cannot review access: cannot reach the API server/ });
  api.isUnreachable = false;
  await f(true, 6);

  const tokens = tokenReviewer(client, clock, RETRIES);
  t.equal((await tokens('good'))?.name, 'robot');
  t.equal(await tokens('bad'), null);
  t.equal(await tokens('bad'), null);
  t.equal(api.tokenReviews.length, 2);
  clock.advance(10_001);
  api.isUnreachable = true;
  await t.rejects(tokens('good'), { httpStatus: 500, message: /cannot review a token/ });
  api.isUnreachable = false;
  t.equal((await tokens('good'))?.name, 'robot', 'a failure is not remembered');
});

test('what a review is about', async (t) => {
  const E = '/apis/external.metrics.k8s.io/v1beta1';
  const C = '/apis/custom.metrics.k8s.io/v1beta2';
  const f = (line: string, want: object, selector = '', isWatch = false) => {
    const [method = '', path = ''] = line.split(' ');
    const segments = path.slice(1).split('/').map(decodeURIComponent);
    const attributes = attributesOf(method, segments, isWatch);
    t.strictSame(reviewAttributes(attributes, writtenRequirements(selector)), want, line);
  };
  const external = { group: 'external.metrics.k8s.io', version: 'v1beta1' };
  const custom = { group: 'custom.metrics.k8s.io', version: 'v1beta2' };
  const resource = (fields: object) => ({ resourceAttributes: fields });
  const depth = { ...external, namespace: 'shop', resource: 'depth' };
  f(`GET ${E}/namespaces/shop/depth`, resource({ verb: 'list', ...depth }));
  f(`GET ${E}/namespaces/shop/depth`, resource({ verb: 'watch', ...depth }), '', true);
  f(`POST ${E}/namespaces/shop/depth`, resource({ verb: 'create', ...depth }));
  // Our escape means nothing to the API server, so it goes there as it came; of an order reviews know nothing.
  const requirements = [
    { key: 'a', operator: 'NotIn', values: ['1', '2'] },
    { key: 'b', operator: 'Exists' },
    { key: 'c', operator: 'DoesNotExist' },
    { key: 'e', operator: 'NotIn', values: ['x'] },
    { key: 'hex.tidegauge.dev/uri', operator: 'In', values: ['2f76312f6c6f67696e'] },
  ];
  const selector = 'hex.tidegauge.dev/uri=2f76312f6c6f67696e,b,!c,d>5,a notin (2,1),e!=x';
  const selected = { ...depth, labelSelector: { requirements } };
  f(`GET ${E}/namespaces/shop/depth`, resource({ verb: 'list', ...selected }), selector);
  f(`GET ${E}/namespaces/shop/depth`, resource({ verb: 'watch', ...selected }), selector, true);
  f(
    `GET ${C}/namespaces/shop/deployments.apps/web/hits`,
    resource({
      verb: 'get',
      ...custom,
      namespace: 'shop',
      resource: 'deployments.apps',
      subresource: 'hits',
      name: 'web',
    }),
    selector,
  );
  f(
    `GET ${C}/namespaces/shop/pods/%2A/hits`,
    resource({ verb: 'get', ...custom, namespace: 'shop', resource: 'pods', subresource: 'hits', name: '*' }),
  );
  f(
    `GET ${C}/namespaces/shop/metrics/hits`,
    resource({ verb: 'get', ...custom, namespace: 'shop', resource: 'metrics', name: 'hits' }),
  );
  f(`GET ${C}/nodes/n1/heat`, resource({ verb: 'get', ...custom, resource: 'nodes', subresource: 'heat', name: 'n1' }));
  f(`GET /openapi/v3`, { nonResourceAttributes: { path: '/openapi/v3', verb: 'get' } });
  f(`DELETE ${E}`, { nonResourceAttributes: { path: E, verb: 'delete' } });
});

const LIST = '/api/v1/configmaps';

test('the cluster says whom to trust: it must at the start, and a slip later takes nothing away', async (t) => {
  const { api, client } = await standIn(t);
  const metadata = { name: 'extension-apiserver-authentication', namespace: 'kube-system' };
  await t.rejects(new WatchedTrust(client, silent).start(), { code: 'bad_config', message: /got no usable ConfigMap/ });
  const put = (names: string, pem = proxies.certPem) =>
    api.put(LIST, { metadata, data: { 'requestheader-client-ca-file': pem, 'requestheader-allowed-names': names } });
  put('["a"');
  await t.rejects(new WatchedTrust(client, silent).start(), /got no usable ConfigMap/);
  put('["a"]');
  api.put(LIST, { metadata: { name: 'another', namespace: 'kube-system' }, data: {} });
  const lines: string[] = [];
  const logger = pino({ level: 'warn' }, { write: (text) => void lines.push(text) });
  const trust = new WatchedTrust(client, logger);
  t.teardown(() => trust.stop());
  await trust.start();
  const names = () => trust.trust.requestHeader?.allowedNames.join();
  t.equal(names(), 'a');
  const f = async (change: () => void, message: RegExp) => {
    change();
    await waitFor(() => lines.some((line) => message.test(line)), { timeoutMs: 10_000, what: String(message) });
    lines.length = 0;
    t.equal(names(), 'a', String(message));
  };
  await f(() => put('"b"'), /cannot read requestheader-allowed-names/);
  await f(
    () => put('["b"]', '-----BEGIN CERTIFICATE-----\nbm9uZQ==\n-----END CERTIFICATE-----\n'),
    /cannot read a bundle/,
  );
  await f(() => api.remove(LIST, 'kube-system', metadata.name), /is gone; what it said last still holds/);
  put('["c"]');
  await waitFor(() => names() === 'c', { timeoutMs: 10_000, what: 'the repaired one' });
});

test('without an API server nobody is asked', async (t) => {
  const around = { clock: new TestClock(NOW_MS), logger: silent, registry: new Registry(), retries: RETRIES };
  await t.rejects(gatekeeper({ mode: { kind: 'delegated' }, client: null, ...around }), {
    code: 'bad_config',
    message: /cannot delegate authentication: got no API server/,
  });
});
