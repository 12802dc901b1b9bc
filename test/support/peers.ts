/**
 * Newer programs than the system has: Debian's packages as `bench/peers/get-peers` unpacks them, in the folder that
 * TIDEGAUGE_PEERS names, or `.bench/peers` where the benches put them. What a test does when one is missing is what
 * real-programs.ts does.
 */
import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const FOLDER = process.env.TIDEGAUGE_PEERS || fileURLToPath(new URL('../../.bench/peers', import.meta.url));

/** Path of a program of a package, or null. */
export function findPeer(packageName: string, program: string): string | null {
  const path = join(FOLDER, packageName, 'usr', 'bin', program);
  try {
    accessSync(path, constants.X_OK);
    return path;
  } catch {
    return null;
  }
}

/** Why a test that needs this program is skipped, or false. Throws where programs are required. */
export function skipWithoutPeer(packageName: string, program: string): string | false {
  if (findPeer(packageName, program) !== null) return false;
  const reason = `no ${program} of Debian's ${packageName} in ${FOLDER}: bench/peers/get-peers unpacks it`;
  if (process.env.TIDEGAUGE_REQUIRE_PROGRAMS === '1') throw new Error(`cannot run this journey: ${reason}`);
  return reason;
}
