/**
 * Environment variables of Kedify's OTel scaler, taken for our own settings, so that its deployment needs another image
 * and nothing else. Our own variables and flags win over them. What has no counterpart here is ignored: the lazy modes,
 * the polling interval (push needs none), how often certificates are looked at (every few seconds), colours, and the port
 * of its own metrics (they are on the web port).
 */
import { CodedError } from '../model/errors.ts';
import type { Environment } from './load.ts';
import { SETTINGS, type Setting } from './schema.ts';

interface Value {
  readonly text: string;
  /** Where it comes from, for messages. */
  readonly origin: string;
}

type Alias = (text: string, env: Environment) => readonly [setting: Setting<unknown>, text: string] | null;

/** The port on which that scaler serves KEDA, and everybody else OTLP over HTTP; here, one port serves both. */
const SHARED_PORT = '4318';

const ALIASES: Readonly<Record<string, Alias>> = {
  OTLP_RECEIVER_PORT: (port) => addressOf(SETTINGS.otlpGrpcListenAddress, port),
  KEDA_EXTERNAL_SCALER_PORT: (port) =>
    addressOf(port === SHARED_PORT ? SETTINGS.otlpHttpListenAddress : SETTINGS.kedaListenAddress, port),
  REST_API_PORT: (port) => addressOf(SETTINGS.webListenAddress, port),
  METRIC_STORE_RETENTION_SECONDS: (seconds) => [SETTINGS.compatKedifyWindow, `${seconds}s`],
  METRIC_STORE_ERROR_IF_NOT_FOUND: (text) => [SETTINGS.compatKedifyErrorIfNotFound, booleanOf(text)],
  METRIC_STORE_VALUE_IF_NOT_FOUND: (text) => [SETTINGS.compatKedifyValueIfNotFound, text],
  OTLP_TLS_CA_FILE: (path) => [SETTINGS.otlpGrpcTlsClientCaFile, path],
  OTLP_TLS_CERT_FILE: (path) => [SETTINGS.otlpGrpcTlsCertFile, path],
  OTLP_TLS_KEY_FILE: (path) => [SETTINGS.otlpGrpcTlsPrivateKeyFile, path],
  KEDA_TLS_CERT_FILE: (path, env) => (hasTls(env) ? [SETTINGS.kedaTlsCertFile, path] : null),
  KEDA_TLS_KEY_FILE: (path, env) => (hasTls(env) ? [SETTINGS.kedaTlsPrivateKeyFile, path] : null),
};

/** Values by the name of the setting. */
export function readAliases(env: Environment): ReadonlyMap<string, Value> {
  const values = new Map<string, Value>();
  for (const [variable, alias] of Object.entries(ALIASES)) {
    const text = env[variable];
    // For a Service called rest-api, Kubernetes sets REST_API_PORT=tcp://… in every pod of the namespace.
    if (text === undefined || text === '' || /^(?:tcp|udp|sctp):\/\//.test(text)) continue;
    const meant = alias(text, env);
    if (meant !== null) values.set(meant[0].name, { text: meant[1], origin: variable });
  }
  return values;
}

function addressOf(setting: Setting<unknown>, port: string): readonly [Setting<unknown>, string] {
  return [setting, `:${port}`];
}

function hasTls(env: Environment): boolean {
  return booleanOf(env.KEDA_TLS_ENABLED ?? '') === 'true';
}

/** Throws `bad_config` where that scaler would serve KEDA in plain text although it is told not to. */
export function checkAliases(env: Environment, hasKedaTls: boolean): void {
  const text = env.KEDA_TLS_ENABLED ?? '';
  if (!['', 'true', 'false'].includes(booleanOf(text))) {
    throw new CodedError('bad_config', `cannot use KEDA_TLS_ENABLED: got ${JSON.stringify(text)}, want true or false`);
  }
  if (!hasTls(env) || hasKedaTls) return;
  const want = 'KEDA_TLS_CERT_FILE and KEDA_TLS_KEY_FILE';
  throw new CodedError('bad_config', `cannot use KEDA_TLS_ENABLED: got no certificate, want ${want}`);
}

/** As Go reads booleans; anything else stays as it is, and is refused with its name. */
function booleanOf(text: string): string {
  if (/^(?:1|t|T|TRUE|true|True)$/.test(text)) return 'true';
  return /^(?:0|f|F|FALSE|false|False)$/.test(text) ? 'false' : text;
}
