/** Sums of what window kernels left, as Prometheus adds up. */

/**
 * Adds the values of n rows, `steps` each, to the sums of their `groups` (0: all rows are of the only one): Kahan and
 * Neumaier's sum and what it has lost (prometheus/prometheus, promql/functions.go, kahanSumInc). Returns the first row
 * with a value, or n.
 */
export function addUp(
  values: usize,
  valid: usize,
  n: u32,
  steps: u32,
  groups: usize,
  sums: usize,
  lost: usize,
  seen: usize,
): u32 {
  if (groups == 0 && steps == 1) return addUpOnce(values, valid, n, sums, lost, seen);
  if (steps == 1) return addUpByGroup(values, valid, n, groups, sums, lost, seen);
  let first = n;
  for (let i: u32 = 0; i < n; i++) {
    const slot = groups == 0 ? 0 : load<u32>(groups + (i << 2)) * steps;
    const row = i * steps;
    for (let k: u32 = 0; k < steps; k++) {
      if (k + 1 < steps && load<u16>(valid + row + k) == 0x0101) {
        first = min<u32>(first, i);
        addTwo(v128.load(values + ((row + k) << 3)), sums + ((slot + k) << 3), lost + ((slot + k) << 3));
        store<u16>(seen + slot + k, 0x0101);
        k++;
        continue;
      }
      if (load<u8>(valid + row + k) == 0) continue;
      first = min<u32>(first, i);
      const value = load<f64>(values + ((row + k) << 3));
      const at = (slot + k) << 3;
      const old = load<f64>(sums + at);
      const sum = old + value;
      if (sum == Infinity || sum == -Infinity) store<f64>(lost + at, 0);
      else {
        const rest = abs<f64>(old) >= abs<f64>(value) ? old - sum + value : value - sum + old;
        store<f64>(lost + at, load<f64>(lost + at) + rest);
      }
      store<f64>(sums + at, sum);
      store<u8>(seen + slot + k, 1);
    }
  }
  return first;
}

/** The same for two steps at once. */
// @ts-ignore: decorator
@inline
function addTwo(value: v128, sums: usize, lost: usize): void {
  const old = v128.load(sums);
  const sum = f64x2.add(old, value);
  const fromValue = f64x2.add(f64x2.sub(old, sum), value);
  const fromOld = f64x2.add(f64x2.sub(value, sum), old);
  const rest = v128.bitselect(fromValue, fromOld, f64x2.ge(f64x2.abs(old), f64x2.abs(value)));
  const infinite = f64x2.eq(f64x2.abs(sum), f64x2.splat(Infinity));
  v128.store(lost, v128.andnot(f64x2.add(v128.load(lost), rest), infinite));
  v128.store(sums, sum);
}

/** The same for one step. Neighbours mostly are of one group, whose sum then need not go through memory. */
function addUpByGroup(values: usize, valid: usize, n: u32, groups: usize, sums: usize, lost: usize, seen: usize): u32 {
  let first = n;
  let slot: u32 = 0;
  let total = load<f64>(sums);
  let rest = load<f64>(lost);
  for (let i: u32 = 0; i < n; i++) {
    if (load<u8>(valid + i) == 0) continue;
    first = min<u32>(first, i);
    const group = load<u32>(groups + (i << 2));
    if (group != slot) {
      store<f64>(sums + (slot << 3), total);
      store<f64>(lost + (slot << 3), rest);
      slot = group;
      total = load<f64>(sums + (slot << 3));
      rest = load<f64>(lost + (slot << 3));
    }
    store<u8>(seen + slot, 1);
    const value = load<f64>(values + (i << 3));
    const sum = total + value;
    if (sum == Infinity || sum == -Infinity) rest = 0;
    else rest += abs<f64>(total) >= abs<f64>(value) ? total - sum + value : value - sum + total;
    total = sum;
  }
  store<f64>(sums + (slot << 3), total);
  store<f64>(lost + (slot << 3), rest);
  return first;
}

/** The same for one sum of all, which then need not go through memory. */
function addUpOnce(values: usize, valid: usize, n: u32, sums: usize, lost: usize, seen: usize): u32 {
  let total = load<f64>(sums);
  let rest = load<f64>(lost);
  let first = n;
  for (let i: u32 = 0; i < n; i++) {
    if (load<u8>(valid + i) == 0) continue;
    first = min<u32>(first, i);
    const value = load<f64>(values + (i << 3));
    const sum = total + value;
    if (sum == Infinity || sum == -Infinity) rest = 0;
    else rest += abs<f64>(total) >= abs<f64>(value) ? total - sum + value : value - sum + total;
    total = sum;
  }
  store<f64>(sums, total);
  store<f64>(lost, rest);
  if (first < n) store<u8>(seen, 1);
  return first;
}
