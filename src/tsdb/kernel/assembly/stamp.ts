/**
 * The stamp: a label `namespace` that the identity of a sender puts on each of its series. It is part of what a series is
 * known by, so the same bytes of two senders are two series; a known series costs one compare of addresses more.
 *
 * What a sender says otherwise, in any label that is read as a namespace, is kept under `exported_…`. Where that name is
 * taken, or the value is none that a namespace can have, the labels are odd, and it is TypeScript that finds another name
 * (ingest/stamp.ts).
 */
import {
  LABEL_BYTES,
  PAIR_BLOB,
  RENAMED_BYTES,
  SB_NAME_BYTES_MAX,
  SB_RENAMED,
  SB_STAMP_BLOB,
  SB_STAMP_BYTES,
  SB_STAMP_HASH,
  SB_STAMP_LABEL,
  SB_STAMP_PAIR,
  SB_STAMP_RENAMED,
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
/** "exported" as one little-endian word, and the underscore behind it. */
const EXPORTED: u64 = 0x646574726f707865;
const UNDERSCORE: u8 = 0x5f;
const EXPORTED_LENGTH: u32 = 9;
/** Kubernetes has no longer ones. With it, each length of a renamed label takes one byte. */
const NAMESPACE_BYTES_MAX: u32 = 63;

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
 * Puts the stamp into its place among the n sorted labels of SB_LABELS, and renames those that say another namespace; how many
 * there are then, or -1 if they are too many with it, or cannot be renamed here.
 */
export function stampLabels(n: u32, labelsMax: u32): i32 {
  store<u32>(SB_STAMP_RENAMED, 0);
  let renamed: u32 = 0;
  // A renamed label goes to the left, and what moves to its place was looked at before.
  for (let i: u32 = 0; i < n; i++) {
    const label = labelEntry(i);
    if (saysNamespace(label) && !saysTheSame(label) && !rename(i, renamed++)) return -1;
  }
  const at = placeOf(n, SB_STAMP_LABEL + NAME_AT, NAME_LENGTH);
  // The sender may say the same of itself.
  const all = at < n && hasName(labelEntry(at), SB_STAMP_LABEL + NAME_AT, NAME_LENGTH) ? n : n + 1;
  if (all > labelsMax) return -1;
  if (all != n) insertStamp(at, n);
  if (renamed != 0) store<u32>(SB_STAMP_RENAMED, all);
  return all;
}

function insertStamp(at: u32, n: u32): void {
  memory.copy(labelEntry(at + 1), labelEntry(at), (n - at) * LABEL_BYTES);
  const entry = labelEntry(at);
  store<u32>(entry, <u32>SB_STAMP_LABEL, LABEL_WIRE);
  store<u32>(entry, load<u32>(SB_STAMP_BYTES), LABEL_WIRE_BYTES);
  store<u32>(entry, <u32>SB_STAMP_LABEL + NAME_AT, LABEL_NAME);
  store<u32>(entry, NAME_LENGTH, LABEL_NAME_BYTES);
  store<u32>(entry, load<u32>(SB_STAMP_HASH), LABEL_HASH);
  store<u32>(entry, load<u32>(SB_STAMP_PAIR), LABEL_PAIR);
}

/** Gives label i its new name and the place that goes with it; false if that cannot be done here. */
function rename(i: u32, slot: u32): bool {
  const label = labelEntry(i);
  const nameBytes = load<u32>(label, LABEL_NAME_BYTES);
  const name = <usize>load<u32>(label, LABEL_NAME);
  // Behind the name: 12, the length of the value, the value.
  const valueBytes = <u32>load<u8>(name + nameBytes, 1);
  const newBytes = EXPORTED_LENGTH + nameBytes;
  if (valueBytes > NAMESPACE_BYTES_MAX || newBytes > load<u32>(SB_NAME_BYTES_MAX)) return false;
  const to = SB_RENAMED + slot * RENAMED_BYTES;
  const bytes = NAME_AT + newBytes + 2 + valueBytes;
  store<u8>(to, 0x0a);
  store<u8>(to, bytes - 2, 1);
  store<u8>(to, 0x0a, 2);
  store<u8>(to, newBytes, 3);
  store<u64>(to, EXPORTED, NAME_AT);
  store<u8>(to, UNDERSCORE, NAME_AT + 8);
  memory.copy(to + NAME_AT + EXPORTED_LENGTH, name, nameBytes + 2 + valueBytes);
  const at = placeOf(i, to + NAME_AT, newBytes);
  if (at < i && hasName(labelEntry(at), to + NAME_AT, newBytes)) return false;
  memory.copy(labelEntry(at + 1), labelEntry(at), (i - at) * LABEL_BYTES);
  const entry = labelEntry(at);
  store<u32>(entry, <u32>to, LABEL_WIRE);
  store<u32>(entry, bytes, LABEL_WIRE_BYTES);
  store<u32>(entry, <u32>to + NAME_AT, LABEL_NAME);
  store<u32>(entry, newBytes, LABEL_NAME_BYTES);
  store<u32>(entry, <u32>hashBytes(to, bytes), LABEL_HASH);
  store<u32>(entry, 0, LABEL_PAIR);
  return true;
}

/** Where a name belongs among the first n labels: before the first that is not less. */
function placeOf(n: u32, name: usize, bytes: u32): u32 {
  let at: u32 = 0;
  while (at < n) {
    const label = labelEntry(at);
    if (bytesCompare(load<u32>(label, LABEL_NAME), load<u32>(label, LABEL_NAME_BYTES), name, bytes) >= 0) break;
    at++;
  }
  return at;
}

function hasName(label: usize, name: usize, bytes: u32): bool {
  return load<u32>(label, LABEL_NAME_BYTES) == bytes && bytesEqual(load<u32>(label, LABEL_NAME), name, bytes);
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
