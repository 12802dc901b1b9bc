/**
 * The command line of prometheus-adapter, read as it is: `tidegauge adapter --config=… --secure-port=…` becomes the flags
 * of this daemon. What has no meaning here (there is no Prometheus to ask) is taken and left aside.
 */
import { CodedError } from '../model/errors.ts';
import { nearest } from '../model/nearest.ts';
import { formatDuration, tryParseDuration } from '../model/time.ts';

/** Our flag for one of theirs. */
const TRANSLATED: Readonly<Record<string, (value: string) => string>> = {
  config: (value) => `--kubernetes.adapter-config=${value}`,
  'secure-port': (value) => `--kubernetes.listen-address=:${value}`,
  'cert-dir': (value) => `--kubernetes.cert-dir=${value}`,
  'tls-cert-file': (value) => `--kubernetes.tls-cert-file=${value}`,
  'tls-private-key-file': (value) => `--kubernetes.tls-private-key-file=${value}`,
  'lister-kubeconfig': (value) => `--kubernetes.kubeconfig=${value}`,
  'client-ca-file': (value) => `--kubernetes.client-ca-file=${value}`,
  'requestheader-client-ca-file': (value) => `--kubernetes.requestheader-client-ca-file=${value}`,
};
/** Of a Prometheus that is not asked, of relisting that does not happen, and of a library for servers. */
const LEFT_ASIDE =
  /^(?:prometheus-(?:url|auth-incluster|auth-config|ca-file|client-tls-cert-file|client-tls-key-file|token-file|header|verb)|metrics-(?:relist-interval|max-age)|model-(?:relist-interval|max-age)|authentication-[a-z-]+|authorization-[a-z-]+|requestheader-(?:allowed-names|username-headers|group-headers|uid-headers|extra-headers-prefix)|v|logtostderr|alsologtostderr|stderrthreshold|add-dir-header|skip-headers|disable-http2|tls-min-version|tls-cipher-suites|bind-address|permit-port-sharing)$/;

const MAX_AGE_MS_DEFAULT = 0;
const RELIST_MS_DEFAULT = 600_000;

/** Flags of this daemon; throws `bad_config` in the adapter's words where it has them. `hasRules` reads the file. */
export function adapterArguments(argv: readonly string[], hasRules: (path: string) => boolean): string[] {
  const given = readFlags(argv);
  const path = given.get('config') ?? '';
  if (path === '') {
    throw badConfig('no metrics discovery configuration file specified (make sure to use --config)');
  }
  const relistMs = durationOf(given, 'metrics-relist-interval', RELIST_MS_DEFAULT);
  const maxAgeMs = durationOf(given, 'metrics-max-age', MAX_AGE_MS_DEFAULT);
  if (maxAgeMs !== 0 && maxAgeMs < relistMs && hasRules(path)) {
    throw badConfig(
      `max age must not be less than relist interval: got ${formatDuration(maxAgeMs)} and ${formatDuration(relistMs)}`,
    );
  }
  return [...given].flatMap(([name, value]) => {
    const translate = TRANSLATED[name];
    return translate === undefined ? [] : [translate(value)];
  });
}

function readFlags(argv: readonly string[]): ReadonlyMap<string, string> {
  const given = new Map<string, string>();
  for (let i = 0; i < argv.length; i++) {
    const [, name = '', value] = /^--?([a-z0-9-]+)(?:=(.*))?$/s.exec(argv[i]!) ?? [];
    if (!(name in TRANSLATED) && !LEFT_ASIDE.test(name)) {
      throw badConfig(
        `unknown flag: ${argv[i]}; the nearest known flag is --${nearest(name, Object.keys(TRANSLATED))}`,
      );
    }
    const next = argv[i + 1];
    if (value !== undefined) given.set(name, value);
    else if (next !== undefined && !next.startsWith('-')) {
      given.set(name, next);
      i++;
    } else given.set(name, 'true');
  }
  return given;
}

function durationOf(given: ReadonlyMap<string, string>, name: string, byDefault: number): number {
  const text = given.get(name);
  if (text === undefined) return byDefault;
  const ms = tryParseDuration(text);
  if (ms === null) throw badConfig(`invalid argument ${JSON.stringify(text)} for "--${name}" flag: want a duration`);
  return ms;
}

function badConfig(message: string): CodedError {
  return new CodedError('bad_config', message);
}
