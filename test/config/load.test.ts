import { readFileSync } from 'node:fs';
import { test } from 'tap';
import { helpText, loadConfig, parseCommand } from '../../src/config/load.ts';
import {
  ALL_SETTINGS,
  type Config,
  defaultMemoryLimitBytes,
  environmentNameOf,
  yamlKeyOf,
} from '../../src/config/schema.ts';
import { type Address, isLoopback } from '../../src/config/values.ts';
import { OTLP_DEFAULTS } from '../../src/ingest/otlp/settings.ts';
import { CodedError } from '../../src/model/errors.ts';
import { LIMITS } from '../../src/model/limits.ts';
import { SWITCHES } from '../../src/promql/switches.ts';

const GIB = 2 ** 30;
const MACHINE = { memoryBytes: 4 * GIB, constrainedMemoryBytes: 0 };

const load = (argv: string[], env: Record<string, string> = {}, yaml = ''): Config =>
  loadConfig(
    yaml === '' ? argv : [...argv, '--config.file=t.yaml'],
    env,
    (path) => (path === 't.yaml' ? yaml : ''),
    MACHINE,
  );

/** The message of the error that the function throws, or '' if it throws none. */
const message = (run: () => unknown): string => {
  try {
    run();
    return '';
  } catch (error) {
    return error instanceof CodedError && error.code === 'bad_config' ? error.message : `not bad_config: ${error}`;
  }
};

test('without any setting the defaults hold', async (t) => {
  const config = load([]);
  t.strictSame(config.web.listenAddress, { host: '127.0.0.1', port: 9090 });
  t.strictSame(config.otlp.grpc.listenAddress, { host: '127.0.0.1', port: 4317 });
  t.strictSame(config.otlp.http.listenAddress, { host: '127.0.0.1', port: 4318 });
  t.strictSame(config.keda.listenAddress, { host: '127.0.0.1', port: 6000 });
  t.strictSame(config.kubernetes.listenAddress, { host: '127.0.0.1', port: 6443 });
  t.equal(config.kubernetes.insecureAllowUnauthenticated, false);
  t.strictSame(config.storage, {
    path: '',
    logFailure: 'accept',
    logSyncMs: 1000,
    retentionMs: 7_200_000,
    memoryLimitBytes: 3 * GIB,
    seriesLimit: 0,
    exemplarsLimit: 10_000,
  });
  t.equal(load(['--storage.log-fsync=always']).storage.logSyncMs, 0);
  t.strictSame(config.query, {
    lookbackDeltaMs: 300_000,
    timeoutMs: LIMITS.queryTimeoutMs,
    samplesMax: LIMITS.querySamplesMax,
    textBytesMax: LIMITS.queryTextBytesMax,
    depthMax: LIMITS.queryDepthMax,
    pointsMax: LIMITS.queryPointsMax,
    resultBytesMax: LIMITS.queryResultBytesMax,
  });
  t.strictSame(
    [config.scaling.timeoutMs, config.scaling.samplesMax],
    [LIMITS.scalerTimeoutMs, LIMITS.scalerSamplesMax],
  );
  t.strictSame(config.log, { level: 'info', format: 'logfmt' });
  t.strictSame(config.externalMetrics, []);
  t.strictSame(Object.keys(config.flags).sort(), ALL_SETTINGS.map((setting) => setting.name).sort());
  t.equal(config.flags['storage.memory-limit'], '3GiB');
  t.equal(config.flags['web.listen-address'], '127.0.0.1:9090');
});

test('a flag wins over a variable, a variable over the file, the file over the default', async (t) => {
  const yaml = 'storage:\n  retention: 1h\n';
  const env = { TIDEGAUGE_STORAGE_RETENTION: '30m' };
  const f = (config: Config, minutes: number) => t.equal(config.storage.retentionMs, minutes * 60_000);
  f(load(['--storage.retention=10m'], env, yaml), 10);
  f(load([], env, yaml), 30);
  f(load([], {}, yaml), 60);
  f(load([]), 120);
  f(load([], { TIDEGAUGE_STORAGE_RETENTION: '' }, yaml), 60);
  f(
    loadConfig([], { TIDEGAUGE_CONFIG_FILE: 'x.yaml' }, (path) => (path === 'x.yaml' ? yaml : ''), MACHINE),
    60,
  );
});

test('every setting can be given as flag, variable and YAML key', async (t) => {
  const values = {
    address: '[::1]:0',
    path: '/tmp/x',
    duration: '90m',
    bytes: '128MiB',
    boolean: 'true',
    count: '7',
    choice: 'error',
    choices: 'promql-delayed-name-removal',
    pattern: 'https:..x',
    name: 'gauge',
    number: '1.5',
    list: 'a.b,c',
    url: 'http://peer:9090',
  };
  const texts: Readonly<Record<string, string>> = {
    'log.format': 'json',
    'query.max-text-size': '64KiB',
    'kubernetes.auth': 'delegated',
    'keda.tenancy': 'namespace',
    'otlp.naming-strategy': 'NoTranslation',
    'storage.log-failure': 'refuse',
    'auth.waive': 'write',
  };
  for (const setting of ALL_SETTINGS) {
    const key = yamlKeyOf(setting);
    if (key === null || setting.name.includes('tls-')) continue;
    const text = texts[setting.name] ?? values[setting.kind.name];
    const want = text === '90m' ? '1h30m' : text;
    const levels = key.split('.');
    const yaml = `${levels.map((level, i) => `${'  '.repeat(i)}${level}:`).join('\n')} ${JSON.stringify(text).replace(/^"([\w.]+)"$/, '$1')}\n`;
    t.equal(load([`--${setting.name}=${text}`]).flags[setting.name], want, `--${setting.name}`);
    t.equal(load([], { [environmentNameOf(setting)]: text }).flags[setting.name], want, environmentNameOf(setting));
    t.equal(load([], {}, yaml).flags[setting.name], want, yaml);
  }
});

test('features are those of the engine, and may stand together', async (t) => {
  const f = (text: string, want: readonly string[]) => t.strictSame(load([`--enable-feature=${text}`]).features, want);
  f('', []);
  f('use-start-timestamps,promql-duration-expr', ['promql-duration-expr', 'use-start-timestamps']);
  const all = Object.values(SWITCHES).map(({ flag }) => flag);
  f(all.join(','), load([`--enable-feature=${all.join(',')}`]).features);
  t.equal(load([`--enable-feature=${all.join(',')}`]).features.length, all.length);
  t.match(
    message(() => load(['--enable-feature=promql-at-modifier'])),
    'cannot use --enable-feature from the command line: got "promql-at-modifier", want any of promql-experimental-functions,',
  );
});

test("variables of Kedify's scaler stand for settings, below our own", async (t) => {
  const kedify = {
    // What is set by ports alone listens on all interfaces; the image waives what that takes.
    TIDEGAUGE_AUTH_WAIVE: 'write',
    OTLP_RECEIVER_PORT: '5317',
    KEDA_EXTERNAL_SCALER_PORT: '4318',
    REST_API_PORT: 'tcp://10.0.0.1:80',
    METRIC_STORE_RETENTION_SECONDS: '90',
    METRIC_STORE_ERROR_IF_NOT_FOUND: 'TRUE',
    METRIC_STORE_VALUE_IF_NOT_FOUND: '2.5',
    KEDA_TLS_CERT_FILE: '/tls.crt',
  };
  const config = load([], kedify);
  t.match(config.compat.kedify, { windowMs: 90_000, errorIfNotFound: true, valueIfNotFound: 2.5 });
  t.equal(config.storage.retentionMs, 7_200_000, "the store's retention is another thing");
  t.strictSame(config.otlp.grpc.listenAddress, { host: '', port: 5317 });
  t.strictSame(config.otlp.http.listenAddress, { host: '', port: 4318 }, 'one port serves both');
  t.equal(config.keda.listenAddress!.port, 6000);
  t.equal(config.web.listenAddress!.port, 9090, 'what Kubernetes sets for a Service is no setting');
  t.equal(config.keda.tlsCertFile, '', 'TLS is off unless it is enabled');
  const tls = { ...kedify, KEDA_TLS_ENABLED: 'true', KEDA_TLS_KEY_FILE: '/tls.key', KEDA_EXTERNAL_SCALER_PORT: '6001' };
  t.match(load([], tls).keda, {
    listenAddress: { port: 6001 },
    tlsCertFile: '/tls.crt',
    tlsPrivateKeyFile: '/tls.key',
  });
  t.throws(
    () => load([], { KEDA_TLS_ENABLED: '1', KEDA_TLS_KEY_FILE: '/k' }),
    { message: /tls-cert-file/ },
    'half of it',
  );
  t.throws(
    () => load([], { KEDA_TLS_ENABLED: 'true' }),
    { message: 'cannot use KEDA_TLS_ENABLED: got no certificate, want KEDA_TLS_CERT_FILE and KEDA_TLS_KEY_FILE' },
    'there, it goes on in plain text',
  );
  t.ok(load(['--keda.tls-cert-file=a', '--keda.tls-private-key-file=b'], { KEDA_TLS_ENABLED: 'true' }));
  t.throws(() => load([], { KEDA_TLS_ENABLED: 'yes' }), { message: /KEDA_TLS_ENABLED: got "yes", want true or false/ });
  const mutual = { OTLP_TLS_CA_FILE: '/ca', OTLP_TLS_CERT_FILE: '/crt', OTLP_TLS_KEY_FILE: '/key' };
  t.match(load([], { OTLP_RECEIVER_PORT: '4317', ...mutual }).otlp.grpc, {
    listenAddress: { host: '', port: 4317 },
    tlsCertFile: '/crt',
    tlsPrivateKeyFile: '/key',
    tlsClientCaFile: '/ca',
  });
  t.throws(
    () => load([], { OTLP_RECEIVER_PORT: '4317', ...mutual, OTLP_TLS_CA_FILE: '' }),
    { message: /everybody who reaches it could send samples/ },
    'a certificate that nobody is asked for names no sender',
  );
  t.throws(() => load([], { OTLP_TLS_CA_FILE: '/ca' }), { message: /--otlp.grpc.tls-client-ca-file: got it without/ });
  const idle = {
    INTERNAL_METRICS_PORT: '8080',
    METRIC_STORE_LAZY_SERIES: 'true',
    METRIC_STORE_LAZY_AGGREGATES: 'true',
    OTLP_CERTIFICATE_RELOAD_INTERVAL: '5m',
    IS_ACTIVE_POLLING_INTERVAL_MS: '500',
    NO_COLOR: 'true',
    NO_BANNER: 'false',
  };
  t.strictSame(load([], idle), load([]), 'what has no counterpart changes nothing');
  t.equal(load([], { ...kedify, TIDEGAUGE_COMPAT_KEDIFY_WINDOW: '3m' }).compat.kedify.windowMs, 180_000);
  t.throws(() => load([], { METRIC_STORE_RETENTION_SECONDS: 'soon' }), {
    message: /from METRIC_STORE_RETENTION_SECONDS: got "soons"/,
  });
  t.throws(() => load([], { METRIC_STORE_ERROR_IF_NOT_FOUND: 'maybe' }), { message: /want true or false/ });
});

test('TLS of the KEDA port is whole or not at all', async (t) => {
  const f = (flags: string[], message: RegExp) => t.throws(() => load(flags), { message }, flags.join(' '));
  f(['--keda.tls-cert-file=a'], /cannot use --keda.tls-cert-file: got it alone/);
  f(['--keda.tls-private-key-file=a'], /cannot use --keda.tls-private-key-file: got it alone/);
  f(['--keda.tls-client-ca-file=a'], /cannot use --keda.tls-client-ca-file: got it without/);
  t.ok(load(['--keda.tls-cert-file=a', '--keda.tls-private-key-file=b', '--keda.tls-client-ca-file=c']));
});

test('lists are texts with commas, and lists in YAML', async (t) => {
  const promoted = (argv: string[], yaml = '') => load(argv, {}, yaml).otlp.translation.promoteResourceAttributes;
  const name = 'promote-resource-attributes';
  t.strictSame(promoted([`--otlp.${name}=a.b, c`]), ['a.b', 'c']);
  t.strictSame(promoted([`--otlp.${name}=`]), []);
  t.strictSame(promoted([], `otlp:\n  ${name}: [a.b, c]\n`), ['a.b', 'c']);
  t.strictSame(promoted([], `otlp:\n  ${name}:\n    - a\n`), ['a']);
  t.throws(() => promoted([`--otlp.${name}=a,,b`]), { code: 'bad_config', message: /want texts separated by commas/ });
  t.throws(() => promoted([], `otlp:\n  ${name}: ['a,b']\n`), { message: /want texts without commas/ });
  t.throws(() => promoted([], `otlp:\n  ${name}: [{a: b}]\n`), { message: /want texts without commas/ });
  t.throws(() => load([], {}, 'log:\n  level: [info]\n'), { message: /got a list, want one value/ });
});

test('what OTLP is translated by, by default, is what the translation has as its own', async (t) => {
  t.strictSame({ ...load([]).otlp.translation, lookbackMs: OTLP_DEFAULTS.lookbackMs }, OTLP_DEFAULTS);
});

test('addresses', async (t) => {
  const f = (text: string, want: Address | null) =>
    t.strictSame(load([`--web.listen-address=${text}`, '--auth.waive=write']).web.listenAddress, want, text);
  f('off', null);
  f(':0', { host: '', port: 0 });
  f('[::1]:9090', { host: '::1', port: 9090 });
  f('localhost:80', { host: 'localhost', port: 80 });
  f('0.0.0.0:65535', { host: '0.0.0.0', port: 65_535 });
  const g = (host: string, want: boolean) => t.equal(isLoopback({ host, port: 1 }), want, host);
  g('127.0.0.1', true);
  g('127.8.9.10', true);
  g('::1', true);
  g('localhost', true);
  g('', false);
  g('0.0.0.0', false);
  g('127.0.0.1.example.org', false);
});

test('bytes', async (t) => {
  const f = (text: string, want: number) =>
    t.equal(load([`--storage.memory-limit=${text}`]).storage.memoryLimitBytes, want, text);
  f('512MiB', 512 * 2 ** 20);
  f('512Mi', 512 * 2 ** 20);
  f('1.5GiB', 1.5 * GIB);
  f('134217728', 134_217_728);
  f('134217728B', 134_217_728);
  const g = (memoryGib: number, constrainedGib: number, wantGib: number) =>
    t.equal(
      defaultMemoryLimitBytes({ memoryBytes: memoryGib * GIB, constrainedMemoryBytes: constrainedGib * GIB }),
      wantGib * GIB,
    );
  g(4, 0, 3);
  g(4, 2, 1.5);
  g(4, 2 ** 30, 3);
  g(64, 0, 5);
  g(64, 32, 5);
  g(0.0625, 0, 0.0625);
});

test('a flag takes its value after = or as the next argument; a switch stands alone', async (t) => {
  t.equal(load(['--storage.retention', '3h']).storage.retentionMs, 10_800_000);
  const f = (argv: string[], want: boolean) =>
    t.equal(load(argv).kubernetes.insecureAllowUnauthenticated, want, argv.join(' '));
  f(['--kubernetes.insecure-allow-unauthenticated', '--log.level=warn'], true);
  f(['--kubernetes.insecure-allow-unauthenticated=false'], false);
  f(['serve', '--kubernetes.insecure-allow-unauthenticated'], true);
  f(['--kubernetes.insecure-allow-unauthenticated', 'serve'], true);
});

test('the command', async (t) => {
  const f = (argv: string[], want: string) =>
    t.equal(parseCommand(argv, {}, () => '', MACHINE).kind, want, argv.join(' '));
  f([], 'serve');
  f(['serve'], 'serve');
  f(['serve', '--log.level=debug'], 'serve');
  f(['--help'], 'help');
  f(['serve', '-h', '--unknown'], 'help');
  f(['--version'], 'version');
  f(['--check-config'], 'check');
  f(['--check-config', '--log.level', 'debug'], 'check');
});

test('what is unknown or wrong is an error that says what was got and what is wanted', async (t) => {
  const f = (argv: string[], want: string) =>
    t.equal(
      message(() => parseCommand(argv, {}, () => '', MACHINE)),
      want,
      argv.join(' '),
    );
  f(
    ['--web.listen-adress=:1'],
    'cannot use the flag "--web.listen-adress": it is not known; the nearest known flag is --web.listen-address',
  );
  f(
    ['--check-confg'],
    'cannot use the flag "--check-confg": it is not known; the nearest known flag is --check-config',
  );
  f(['-log.level', 'info'], 'cannot use the flag "-log.level": it is not known; the nearest known flag is --log.level');
  f(['sreve'], 'cannot run the command "sreve": it is not known; the nearest known command is serve');
  f(['serve', 'x'], 'cannot use the argument "x": got it after the command serve, want only flags there');
  f(['--log.level'], 'cannot use --log.level: got no value, want debug, info, warn or error');
  f(['--log.level', '--log.format=json'], 'cannot use --log.level: got no value, want debug, info, warn or error');
  f(['--log.level=info', '--log.level=info'], 'cannot use --log.level: got it twice, want it once');
  f(
    ['--log.level=trace'],
    'cannot use --log.level from the command line: got "trace", want debug, info, warn or error',
  );
  f(
    ['--web.listen-address=9090'],
    'cannot use --web.listen-address from the command line: got "9090", want host:port, :port, [::1]:port or off',
  );
  f(
    ['--web.listen-address=a:65536'],
    'cannot use --web.listen-address from the command line: got "a:65536", want host:port, :port, [::1]:port or off',
  );
  f(
    ['--web.listen-address=[::g]:1'],
    'cannot use --web.listen-address from the command line: got "[::g]:1", want host:port, :port, [::1]:port or off',
  );
  f(
    ['--storage.retention=0'],
    'cannot use --storage.retention from the command line: got "0", want a duration above 0 such as 2h or 1h30m',
  );
  f(
    ['--storage.memory-limit=1GB'],
    'cannot use --storage.memory-limit from the command line: got "1GB", want bytes such as 512MiB, from 64MiB to 5GiB',
  );
  f(
    ['--storage.memory-limit=6GiB'],
    'cannot use --storage.memory-limit from the command line: got "6GiB", want bytes such as 512MiB, from 64MiB to 5GiB',
  );
  f(
    ['--storage.series-limit=-1'],
    'cannot use --storage.series-limit from the command line: got "-1", want a whole number from 0',
  );
  f(
    ['--kubernetes.insecure-allow-unauthenticated=yes'],
    'cannot use --kubernetes.insecure-allow-unauthenticated from the command line: got "yes", want true or false',
  );
});

test('the Kubernetes port stays on loopback unless this is waived, and its key and certificate come together', async (t) => {
  const f = (argv: string[], want: RegExp | '') =>
    t.match(
      message(() => load(argv)),
      want === '' ? /^$/ : want,
      argv.join(' '),
    );
  f(
    ['--web.listen-address=:9090'],
    /^cannot use --web\.listen-address: got ":9090", want an address on loopback, because .*; --web\.config\.file says who may, --auth\.waive=write waives this$/,
  );
  f(['--otlp.grpc.listen-address=:4317'], /^cannot use --otlp.grpc.listen-address: /);
  f(['--web.listen-address=:9090', '--otlp.http.listen-address=:1', '--auth.waive=write'], '');
  f(['--keda.listen-address=:6000'], '');
  f(
    ['--kubernetes.listen-address=:6443'],
    /want an address on loopback.*--kubernetes\.insecure-allow-unauthenticated waives this/,
  );
  f(['--kubernetes.listen-address=10.0.0.1:6443'], /got "10\.0\.0\.1:6443"/);
  f(['--kubernetes.listen-address=[::1]:6443'], '');
  f(['--kubernetes.listen-address=off'], '');
  f(['--kubernetes.listen-address=:6443', '--kubernetes.insecure-allow-unauthenticated'], '');
  f(['--kubernetes.tls-cert-file=a.pem'], /^cannot use --kubernetes\.tls-cert-file: got it alone/);
  f(['--kubernetes.tls-private-key-file=a.pem'], /^cannot use --kubernetes\.tls-private-key-file: got it alone/);
  f(['--kubernetes.tls-cert-file=a.pem', '--kubernetes.tls-private-key-file=b.pem'], '');
});

test('unknown variables are errors, but not those that Kubernetes makes for Services', async (t) => {
  const f = (variable: string, want: string) =>
    t.equal(
      message(() => load([], { [variable]: 'x' })),
      want,
      variable,
    );
  f(
    'TIDEGAUGE_STORAGE_RETENTON',
    'cannot use the environment variable "TIDEGAUGE_STORAGE_RETENTON": it is not known; the nearest known variable is TIDEGAUGE_STORAGE_RETENTION',
  );
  f(
    'TIDEGAUGE_STORAGE_RETENTION',
    'cannot use --storage.retention from TIDEGAUGE_STORAGE_RETENTION: got "x", want a duration above 0 such as 2h or 1h30m',
  );
  f('OTHER_VARIABLE', '');
  f('TIDEGAUGE_SERVICE_HOST', '');
  f('TIDEGAUGE_SERVICE_PORT', '');
  f('TIDEGAUGE_SERVICE_PORT_HTTP_WEB', '');
  f('TIDEGAUGE_PORT', '');
  f('TIDEGAUGE_PORT_9090_TCP', '');
  f('TIDEGAUGE_PORT_9090_TCP_ADDR', '');
  f('TIDEGAUGE_KEDA_SERVICE_HOST', '');
  f('TIDEGAUGE_KEDA_PORT_6000_TCP_PROTO', '');
});

test('the file: what is unknown or wrong is named with its line and column', async (t) => {
  const f = (yaml: string, want: string) =>
    t.equal(
      message(() => load([], {}, yaml)),
      want,
      yaml,
    );
  f(
    'web:\n  listen-adress: :1\n',
    'cannot use the key "web.listen-adress" at t.yaml:2:3: it is not known; the nearest known key is "web.listen-address"',
  );
  f(
    'listen-address: :1\n',
    'cannot use the key "listen-address" at t.yaml:1:1: it is not known; the nearest known key is "web.listen-address"',
  );
  f(
    'externalMetric: []\n',
    'cannot use the key "externalMetric" at t.yaml:1:1: it is not known; the nearest known key is "externalMetrics"',
  );
  f(
    'config:\n  file: x\n',
    'cannot use the key "config" at t.yaml:1:1: it is not known; the nearest known key is "web.config"',
  );
  f(
    'storage:\n  retention: 5\n',
    'cannot use --storage.retention from t.yaml:2:3: got "5", want a duration above 0 such as 2h or 1h30m',
  );
  f('storage: 5\n', 'cannot read storage at t.yaml:1:10: got "5", want keys and values');
  f('log:\n  level:\n    - info\n', 'cannot use log.level at t.yaml:2:3: got a list, want one value');
  f('log:\n  level:\n', 'cannot use --log.level from t.yaml:2:3: got "", want debug, info, warn or error');
  f('log:\n  level: info\n  level: debug\n', 'cannot read t.yaml:3:3: Map keys must be unique');
  f('- a\n', 'cannot read the file at t.yaml:1:1: got a list, want keys and values');
  f('? [a]\n: b\n', 'cannot read the key at t.yaml:1:3: got a list, want a word');
  f(
    'log.level: info\nlog: {level: warn}\n',
    'cannot use log.level at t.yaml:2:7: got it twice, want it once (first at t.yaml:1:1)',
  );
  f('log.level: warn\n', '');
  f('# nothing\n', '');
  f('web:\nlog:\n  level: &l warn\n', '');
  t.match(
    message(() => load([], {}, 'a: [\n')),
    /^cannot read t\.yaml:\d+:\d+: /,
  );
  const missing = () =>
    loadConfig(['--config.file=/no/such.yaml'], {}, () => readFileSync('/no/such.yaml', 'utf8'), MACHINE);
  t.match(message(missing), /^cannot read the configuration file "\/no\/such\.yaml": ENOENT/);
});

test('external metrics', async (t) => {
  const yaml = [
    'externalMetrics:',
    '  - name: http_requests_per_second',
    '    query: sum(rate(http_requests_total[1m]))',
    '  - {name: queue.length, query: max(q), namespaced: false}',
    '',
  ].join('\n');
  t.strictSame(load([], {}, yaml).externalMetrics, [
    {
      name: 'http_requests_per_second',
      query: 'sum(rate(http_requests_total[1m]))',
      namespaced: true,
      policy: {},
      origin: 't.yaml:2:5',
    },
    { name: 'queue.length', query: 'max(q)', namespaced: false, policy: {}, origin: 't.yaml:4:5' },
  ]);
  const policies =
    'externalMetrics:\n  - {name: a, query: a, noData: last:10m, clampMin: 2, freshness: 1m, reduce: max}\n';
  t.match(load([], {}, policies).externalMetrics, [
    { policy: { noData: 'last:10m', clampMin: '2', freshness: '1m', reduce: 'max' } },
  ]);
  t.strictSame(load([], {}, 'externalMetrics:\n').externalMetrics, []);
  const f = (item: string, want: string) =>
    t.match(
      message(() => load([], {}, `externalMetrics:\n  - ${item}\n`)),
      want,
      item,
    );
  f('{name: a}', 'cannot define externalMetrics at t.yaml:2:5: got no query, want name and query');
  f('{query: a}', 'cannot define externalMetrics at t.yaml:2:5: got no name, want name and query');
  f('{name: a, query: ""}', 'cannot use query at t.yaml:2:15: got "", want a text that is not empty');
  f('{name: 5, query: a}', 'cannot use name at t.yaml:2:6: got "5", want a text that is not empty');
  f('{name: a, query: a, namespace: true}', 'the nearest known key is "namespaced"');
  f('{name: a, query: a, nodata: zero}', 'the nearest known key is "noData"');
  f('{name: a, query: a, reduce: [max]}', 'cannot use reduce at t.yaml:2:25: got a list, want one value');
  f('{name: a, query: a, namespaced: 1}', 'cannot use namespaced at t.yaml:2:25: got "1", want true or false');
  f(
    '{name: a, query: a}\n  - {name: a, query: b}',
    'at t.yaml:3:5: got the name "a" again, want each once (first at t.yaml:2:5)',
  );
  f('a', 'cannot read an item of externalMetrics at t.yaml:2:5: got "a", want keys and values');
  for (const name of ['a/b', 'a%20', '.', '..', 'watch', 'proxy', 'status', 'finalize', 'a b']) {
    f(
      `{name: "${name}", query: a}`,
      `cannot use name at t.yaml:2:6: got "${name}", want a name that can stand in a URL's path`,
    );
  }
  f('{name: "x:y-1.z", query: a, namespaced: x}', 'cannot use namespaced');
  t.match(
    message(() => load([], {}, 'externalMetrics: {}\n')),
    'want a list of metrics',
  );
});

test('custom metrics', async (t) => {
  const yaml = [
    'customMetrics:',
    '  - {name: requests, resource: pods, query: sum by (pod) (requests)}',
    '  - {name: requests, resource: services, query: a, label: svc, namespaceLabel: ns, namespaced: false, reduce: max}',
    '',
  ].join('\n');
  t.strictSame(load([], {}, yaml).customMetrics, [
    {
      name: 'requests',
      query: 'sum by (pod) (requests)',
      namespaced: true,
      policy: {},
      origin: 't.yaml:2:5',
      resource: 'pods',
      label: '',
      namespaceLabel: '',
    },
    {
      name: 'requests',
      query: 'a',
      namespaced: false,
      policy: { reduce: 'max' },
      origin: 't.yaml:3:5',
      resource: 'services',
      label: 'svc',
      namespaceLabel: 'ns',
    },
  ]);
  t.strictSame(load([], {}, 'customMetrics:\n').customMetrics, []);
  const f = (items: string, want: string) =>
    t.match(
      message(() => load([], {}, `customMetrics:\n  - ${items}\n`)),
      want,
      items,
    );
  f('{name: a, query: a}', 'cannot define customMetrics at t.yaml:2:5: got no resource, want name, resource and query');
  f('{name: a, resource: [], query: a}', 'cannot use resource at t.yaml:2:15: got a list, want a text that is not');
  f('{name: a, resources: pods, query: a}', 'the nearest known key is "resource"');
  f('{name: a/b, resource: pods, query: a}', "want a name that can stand in a URL's path");
  f(
    '{name: a, resource: pods, query: a}\n  - {name: a, resource: pods, query: b}',
    'at t.yaml:3:5: got "a" of pods again, want each once (first at t.yaml:2:5)',
  );
  f('a', 'cannot read an item of customMetrics at t.yaml:2:5: got "a", want keys and values');
});

test('the help text and docs/configuration.md list every setting as the table has it', async (t) => {
  const help = helpText();
  const document = readFileSync(new URL('../../docs/configuration.md', import.meta.url), 'utf8');
  for (const setting of ALL_SETTINGS) {
    t.ok(
      help.includes(`--${setting.name}=<${setting.kind.name}>`) && help.includes(setting.help),
      `help: --${setting.name}`,
    );
    t.ok(help.includes(environmentNameOf(setting)), `help: ${environmentNameOf(setting)}`);
    const key = yamlKeyOf(setting);
    const byDefault = typeof setting.defaultText === 'string' ? setting.defaultText : 'by machine';
    const cells = [
      `\`--${setting.name}\``,
      `\`${environmentNameOf(setting)}\``,
      key === null ? '' : `\`${key}\``,
      setting.kind.name === 'choice' ? setting.kind.want : setting.kind.name,
      byDefault === '' ? '' : `\`${byDefault}\``,
      setting.help,
    ];
    const row = `|${cells.map((cell) => (cell === '' ? ' ' : ` ${cell} `)).join('|')}|`;
    t.ok(document.includes(row), `docs/configuration.md has the row ${row}`);
  }
  const listed = [...document.matchAll(/^\| `--([^`]+)`/gm)].map((match) => match[1]);
  t.strictSame(
    listed,
    ALL_SETTINGS.map((setting) => setting.name),
    'the document lists nothing else, in the same order',
  );
});
