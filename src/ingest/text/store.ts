/** Text into the head, by way of remote-write bodies. */
import { CodedError } from '../../model/errors.ts';
import { type RemoteWriteTarget, storeRemoteWrite } from '../remote-write/store.ts';
import { type TextFormat, transcodeText } from './transcode.ts';

/**
 * Stores a text; lines that cannot be read are refused and the others kept. `connection` numbers its sender, who repeats
 * the order of its series; `onBlock` is told each remote-write body once it is stored. Throws `bad_body` for OpenMetrics that is cut off, and has then stored nothing.
 */
export function storeText(
  text: Uint8Array,
  format: TextFormat,
  connection: number,
  target: RemoteWriteTarget,
  onBlock: (block: Uint8Array) => void = () => undefined,
): void {
  const { bodies, refusedLines, firstRefused, isComplete } = transcodeText(text, format);
  if (!isComplete) throw new CodedError('bad_body', 'cannot take OpenMetrics: it does not end with # EOF');
  target.sink.tally.refuse('malformed_line', refusedLines, firstRefused);
  for (const body of bodies) {
    storeRemoteWrite(body, connection, target);
    onBlock(body);
  }
}
