/** What window kernels read from: series given as ids, or as copies of their records lying side by side. */
import { RECORD_BYTES } from '../layout';
import { recordOf } from './series';

// @ts-ignore: decorator
@inline
export function sourceOf(sources: usize, copies: bool, i: u32): usize {
  return copies ? sources + i * RECORD_BYTES : recordOf(load<u32>(sources + (i << 2)));
}
