/** What Linux says of a process and of the machine. */
import fs from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

const TICKS = 100; // USER_HZ, fixed at 100 on every mainstream Linux

/** User and system CPU seconds of a process since its start. */
export function cpuSeconds(pid) {
  const stat = fs.readFileSync(`/proc/${pid}/stat`, 'latin1');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return { user: Number(fields[11]) / TICKS, sys: Number(fields[12]) / TICKS };
}

export function cpuTotal(pid) {
  const { user, sys } = cpuSeconds(pid);
  return user + sys;
}

/** Resident memory in bytes: all, anonymous part, and the highest so far. */
export function memory(pid) {
  const status = fs.readFileSync(`/proc/${pid}/status`, 'latin1');
  const kib = (name) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? 0) * 1024;
  return { rss: kib('VmRSS'), anon: kib('RssAnon'), peak: kib('VmHWM') };
}

/** Busy CPU seconds of the whole machine since boot (steal left out). */
export function machineBusy() {
  const f = fs.readFileSync('/proc/stat', 'latin1').split('\n', 1)[0].trim().split(/\s+/).slice(1).map(Number);
  return (f[0] + f[1] + f[2] + f[5] + f[6]) / TICKS;
}

/** Waits until the process uses under 3 % of a core for two seconds running; returns the seconds waited. */
export async function settle(pid, { maxSeconds = 20, minSeconds = 3 } = {}) {
  let quiet = 0;
  let before = cpuTotal(pid);
  for (let s = 1; s <= maxSeconds; s++) {
    await sleep(1000);
    const now = cpuTotal(pid);
    quiet = now - before < 0.03 ? quiet + 1 : 0;
    before = now;
    if (quiet >= 2 && s >= minSeconds) return s;
  }
  return maxSeconds;
}

/** Bytes on disk under a folder (allocated blocks, as du counts). */
export function diskBytes(dir) {
  let total = 0;
  for (const entry of fs.readdirSync(dir, { withFileTypes: true, recursive: true })) {
    if (!entry.isFile()) continue;
    try {
      total += fs.statSync(`${entry.parentPath ?? entry.path}/${entry.name}`).blocks * 512;
    } catch {
      /* deleted while we looked */
    }
  }
  return total;
}
