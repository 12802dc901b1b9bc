/** The file that says who is let in: what it may say, and what is told of what it may not. */
import { test } from 'tap';
import { parseWebFile } from '../../src/config/web-file.ts';
import { CodedError } from '../../src/model/errors.ts';

const parse = (text: string) => parseWebFile(text, '/etc/t/web.yml');

const message = (text: string): string => {
  try {
    parse(text);
    return '';
  } catch (error) {
    return error instanceof CodedError && error.code === 'bad_config' ? error.message : `not bad_config: ${error}`;
  }
};

test('an empty file names nobody', async (t) => {
  const nothing = {
    tls: { web: null, otlp_grpc: null, otlp_http: null, keda: null },
    tokens: [],
    clients: [],
    anonymous: [],
  };
  for (const text of ['', '# nothing', 'tokens:\nclients:\nports:\n']) t.strictSame(parse(text), nothing, text);
});

test("Prometheus' own form, and ours beside it", async (t) => {
  const file = parse(`
tls_server_config: {cert_file: a.crt, key_file: /keys/a.key, client_ca_file: ca.crt, min_version: TLS13}
ports:
  web: off
  keda: {cert_file: k.crt, key_file: k.key, client_ca_file: ../ca.crt, client_auth_type: VerifyClientCertIfGiven}
tokens: [{name: a, file: tokens/a, namespace: team-a, roles: [write, scale]}]
clients: [{name: b, san: 'spiffe://x/y', roles: [admin]}]
anonymous: [read]
`);
  const common = {
    certFile: '/etc/t/a.crt',
    keyFile: '/keys/a.key',
    clientCaFile: '/etc/t/ca.crt',
    isCertificateRequired: true,
    minVersion: 'TLSv1.3',
  };
  t.strictSame(file.tls.otlp_grpc, common);
  t.equal(file.tls.web, null);
  t.match(file.tls.keda, {
    certFile: '/etc/t/k.crt',
    clientCaFile: '/etc/ca.crt',
    isCertificateRequired: false,
    minVersion: 'TLSv1.2',
  });
  t.strictSame(file.tokens, [{ name: 'a', namespace: 'team-a', roles: ['write', 'scale'], file: '/etc/t/tokens/a' }]);
  t.strictSame(file.clients, [{ name: 'b', namespace: '', roles: ['admin'], commonName: '', san: 'spiffe://x/y' }]);
  t.strictSame(file.anonymous, ['read']);
});

test('what cannot be used is named', async (t) => {
  const f = (text: string, want: string | RegExp) => t.match(message(text), want, text);
  f('tokens: [', /^cannot read \/etc\/t\/web\.yml: /);
  f('[]', 'cannot use the file of /etc/t/web.yml: got [], want keys and values');
  f('token: []', 'cannot use token of /etc/t/web.yml: it is not known; the nearest known key is tokens');
  f(
    'basic_auth_users: {a: x}',
    'cannot use basic_auth_users of /etc/t/web.yml: passwords are not kept here, use tokens',
  );
  f('__proto__: {tokens: []}', 'cannot use __proto__ of');
  f('tokens: [{name: a, roles: [write]}]', 'cannot use tokens[0] of /etc/t/web.yml: got no file');
  f('tokens: [{name: a b, file: x, roles: [write]}]', 'cannot use tokens[0].name of');
  f('tokens: [{name: a, file: x, roles: [write, reed]}]', 'got "reed", want any of write, read, scale, admin');
  f('tokens: [{name: a, file: x}]', 'cannot use tokens[0].roles of /etc/t/web.yml: got none');
  f('tokens: [{name: a, file: x, roles: [write], namespace: Team}]', 'cannot use tokens[0].namespace of');
  f(
    'tokens: [{name: a, file: x, roles: [read], namespace: t}]',
    'got read or admin with a namespace, want write and scale only',
  );
  f('tokens: [{name: a, file: x, roles: [read]}, {name: a, file: y, roles: [read]}]', 'got "a" again, want each once');
  f('clients: [{name: a, roles: [read]}]', 'got neither, want common_name or san');
  f('ports: {webb: off}', 'cannot use ports.webb of /etc/t/web.yml: it is not known; the nearest known key is web');
  f('ports: {web: on}', 'cannot use ports.web of /etc/t/web.yml: got "on", want keys and values');
  f('tls_server_config: {cert_file: a}', 'want cert_file and key_file');
  const tls = 'cert_file: a, key_file: b';
  f(
    `tls_server_config: {${tls}, client_auth_type: RequireAnyClientCert, client_ca_file: c}`,
    'got "RequireAnyClientCert"',
  );
  f(`tls_server_config: {${tls}, client_auth_type: RequireAndVerifyClientCert}`, 'without client_ca_file');
  f(`tls_server_config: {${tls}, min_version: TLS10}`, 'got "TLS10", want TLS12 or TLS13');
  f('anonymous: write', 'cannot use anonymous of /etc/t/web.yml: got "write", want a list');
  // Whoever writes a token where its file belongs does not read it in the log.
  const secret = 'a-secret-that-is-long-enough-to-be-a-token';
  t.notOk(message(`tokens: [{name: a, file: x, roles: [${secret}]}]`).includes(secret));
});
