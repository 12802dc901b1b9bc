/**
 * The stamp: a label `namespace` that the identity of a sender puts on each of its series. It is part of what a series is
 * known by, so the same bytes of two senders are two series; a known series costs one compare of addresses more.
 *
 * A sender that says another namespace of itself, in any label that is read as one, is none of the kernel's business: its
 * labels are odd, and TypeScript renames what it says (ingest/stamp.ts).
 */
import {
  LABEL_BYTES,
  PAIR_BLOB,
  SB_STAMP_BLOB,
  SB_STAMP_BYTES,
  SB_STAMP_HASH,
  SB_STAMP_LABEL,
  SB_STAMP_PAIR,
} from '../layout';
import { hashBytes } from './hash';
import {
  LABEL_HASH,
  LABEL_NAME,
  LABEL_NAME_BYTES,
  LABEL_PAIR,
  LABEL_WIRE,
  LABEL_WIRE_BYTES,
  labelEntry,
  pairFind,
} from './labels';
import { bytesCompare, bytesEqual } from './memory';

/** 0a LL 0a 09 "namespace" 12 VV: where the name and the value of the stamp stand. */
const NAME_AT: u32 = 4;
const NAME_LENGTH: u32 = 9;
const VALUE_AT: u32 = 15;
/** Letters in "k8s_namespace_name" and "k8s.namespace.name". */
const KUBERNETES_LENGTH: u32 = 18;

/** Looks up what the store knows of the stamp: before a body is walked, and once a series was made. */
export function stampResolve(): void {
  const bytes = load<u32>(SB_STAMP_BYTES);
  store<u32>(SB_STAMP_PAIR, 0);
  store<u32>(SB_STAMP_BLOB, 0);
  if (bytes == 0) return;
  const hash = <u32>hashBytes(SB_STAMP_LABEL, bytes);
  const pair = pairFind(SB_STAMP_LABEL, bytes, hash);
  store<u32>(SB_STAMP_HASH, hash);
  store<u32>(SB_STAMP_PAIR, <u32>pair);
  if (pair != 0) store<u32>(SB_STAMP_BLOB, load<u32>(pair, PAIR_BLOB));
}

/**
 * Puts the stamp into its place among the n sorted labels of SB_LABELS; how many there are then, or -1 if they say another
 * namespace, or are too many with it.
 */
export function stampLabels(n: u32, labelsMax: u32): i32 {
  let at = n;
  for (let i: u32 = 0; i < n; i++) {
    const label = labelEntry(i);
    if (saysNamespace(label) && !saysTheSame(label)) return -1;
    if (at < n) continue;
    const order = bytesCompare(
      load<u32>(label, LABEL_NAME),
      load<u32>(label, LABEL_NAME_BYTES),
      SB_STAMP_LABEL + NAME_AT,
      NAME_LENGTH,
    );
    // The sender says the same of itself.
    if (order == 0) return others(i + 1, n) ? n : -1;
    if (order > 0) at = i;
  }
  if (n == labelsMax) return -1;
  memory.copy(labelEntry(at + 1), labelEntry(at), (n - at) * LABEL_BYTES);
  const entry = labelEntry(at);
  store<u32>(entry, <u32>SB_STAMP_LABEL, LABEL_WIRE);
  store<u32>(entry, load<u32>(SB_STAMP_BYTES), LABEL_WIRE_BYTES);
  store<u32>(entry, <u32>SB_STAMP_LABEL + NAME_AT, LABEL_NAME);
  store<u32>(entry, NAME_LENGTH, LABEL_NAME_BYTES);
  store<u32>(entry, load<u32>(SB_STAMP_HASH), LABEL_HASH);
  store<u32>(entry, load<u32>(SB_STAMP_PAIR), LABEL_PAIR);
  return n + 1;
}

/** True if no label from i on says another namespace. */
function others(i: u32, n: u32): bool {
  for (; i < n; i++) {
    const label = labelEntry(i);
    if (saysNamespace(label) && !saysTheSame(label)) return false;
  }
  return true;
}

/** True for the names of model/scope.ts. */
function saysNamespace(label: usize): bool {
  const bytes = load<u32>(label, LABEL_NAME_BYTES);
  const name = <usize>load<u32>(label, LABEL_NAME);
  if (bytes == NAME_LENGTH) return bytesEqual(name, SB_STAMP_LABEL + NAME_AT, NAME_LENGTH);
  if (bytes != KUBERNETES_LENGTH || (load<u32>(name) & 0xffffff) != 0x73386b) return false;
  const separator = load<u8>(name, 3);
  if (separator != 0x5f && separator != 0x2e) return false;
  if (load<u8>(name, 13) != separator || (load<u32>(name, 14)) != 0x656d616e) return false;
  return bytesEqual(name + 4, SB_STAMP_LABEL + NAME_AT, NAME_LENGTH);
}

/** True if the value of a label is that of the stamp. */
function saysTheSame(label: usize): bool {
  const valueBytes = load<u32>(SB_STAMP_BYTES) - VALUE_AT;
  const end = load<u32>(label, LABEL_WIRE) + load<u32>(label, LABEL_WIRE_BYTES);
  const nameEnd = load<u32>(label, LABEL_NAME) + load<u32>(label, LABEL_NAME_BYTES);
  // Behind the name: 12, a length of one byte, the value.
  if (end != nameEnd + 2 + valueBytes) return false;
  return bytesEqual(<usize>nameEnd + 2, SB_STAMP_LABEL + VALUE_AT, valueBytes);
}
