/**
 * Which remote-write a request speaks. The Content-Type decides, and nothing else: X-Prometheus-Remote-Write-Version is
 * there for people (prometheus/docs, docs/specs/prw/remote_write_spec_2_0.md). Absent headers are taken as 1.0 and snappy,
 * as Prometheus takes them.
 */
import { CodedError } from '../../model/errors.ts';
import { encodingOf, parseMediaType } from './media.ts';

export type RemoteWriteVersion = 1 | 2;

const PROTO_1 = 'prometheus.WriteRequest';
const PROTO_2 = 'io.prometheus.write.v2.Request';

/** Throws `unsupported_media_type`. */
export function negotiateRemoteWrite(
  contentType: string | undefined,
  contentEncoding: string | undefined,
): RemoteWriteVersion {
  const { type, parameters } = parseMediaType(contentType);
  const proto = parameters.get('proto') ?? PROTO_1;
  if ((type !== '' && type !== 'application/x-protobuf') || (proto !== PROTO_1 && proto !== PROTO_2)) {
    const want = `application/x-protobuf, with proto ${PROTO_1} or ${PROTO_2} or without`;
    throw unsupported(`cannot take Content-Type: got ${JSON.stringify(contentType)}, want ${want}`);
  }
  const encoding = encodingOf(contentEncoding);
  if (encoding !== '' && encoding !== 'snappy') {
    throw unsupported(`cannot take Content-Encoding: got ${JSON.stringify(encoding)}, want snappy`);
  }
  return proto === PROTO_2 ? 2 : 1;
}

function unsupported(message: string): CodedError {
  return new CodedError('unsupported_media_type', message);
}
