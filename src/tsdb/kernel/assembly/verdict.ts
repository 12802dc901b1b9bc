/**
 * The verdict on a body: a bit for each sample, in the order in which samples are judged, set if it was refused. It goes
 * into the log with the body, so that a replay takes what was taken and judges nothing again.
 *
 * A sample's number is how many outcomes were counted before it: keeping the verdict costs nothing while nothing is refused.
 */
import {
  OUTCOME_PASSED_OVER,
  OUTCOMES,
  RESULT_OUTCOMES,
  SB_RESULT,
  SB_VERDICT,
  SB_VERDICT_BYTES,
  SB_VERDICT_GIVEN,
} from '../layout';

/** Forgets the verdict on the body before, unless one was given for the next. */
export function resetVerdict(): void {
  const bytes = load<u32>(SB_VERDICT_BYTES);
  if (bytes == 0 || load<u32>(SB_VERDICT_GIVEN) != 0) return;
  memory.fill(load<u32>(SB_VERDICT), 0, bytes);
  store<u32>(SB_VERDICT_BYTES, 0);
}

/** Notes that the last n samples that were counted are refused. */
export function noteRefused(n: u32): void {
  const end = judged();
  const bits = <usize>load<u32>(SB_VERDICT);
  for (let i = end - n; i < end; i++) {
    const at = bits + (i >>> 3);
    store<u8>(at, <u32>load<u8>(at) | (<u32>1 << (i & 7)));
  }
  if (n != 0) store<u32>(SB_VERDICT_BYTES, ((end - 1) >>> 3) + 1);
}

/** True, and the samples counted as passed over, if the verdict refuses all of the next n. */
export function passesOver(n: u32): bool {
  const first = judged();
  const bytes = load<u32>(SB_VERDICT_BYTES);
  const bits = <usize>load<u32>(SB_VERDICT);
  for (let i = first; i < first + n; i++) {
    if (i >>> 3 >= bytes || ((load<u8>(bits + (i >>> 3)) >>> (i & 7)) & 1) == 0) return false;
  }
  const counter: usize = SB_RESULT + RESULT_OUTCOMES + OUTCOME_PASSED_OVER * 4;
  store<u32>(counter, load<u32>(counter) + n);
  return true;
}

function judged(): u32 {
  let sum: u32 = 0;
  for (let i: usize = 0; i < <usize>OUTCOMES; i++) sum += load<u32>(SB_RESULT + RESULT_OUTCOMES + (i << 2));
  return sum;
}
