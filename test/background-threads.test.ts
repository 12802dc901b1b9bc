/** On one core V8's workers yield to the event loop; the loop itself and the threads that wait for disks do not. */
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'tap';
import { startDaemon } from './support/daemon.ts';

test('of the threads of the daemon only the four workers of V8 are nice', async (t) => {
  if (process.platform !== 'linux') {
    t.comment('threads have no priorities of their own here');
    return;
  }
  const daemon = await startDaemon([], { core: 0 });
  t.teardown(() => daemon.stop());
  const threads = readdirSync(`/proc/${daemon.pid}/task`)
    .map(Number)
    .sort((a, b) => a - b)
    .map((thread) => {
      const stat = readFileSync(`/proc/${daemon.pid}/task/${thread}/stat`, 'utf8');
      const [, name = '', rest = ''] = /\((.*)\) (.*)/.exec(stat) ?? [];
      return { name, niceness: Number(rest.split(' ')[16]) };
    });
  const nice = threads.map(({ niceness }, i) => (niceness === 0 ? -1 : i)).filter((i) => i >= 0);
  t.strictSame(nice, [2, 3, 4, 5], threads.map(({ name, niceness }) => `${name} ${niceness}`).join(', '));
  t.strictSame([...new Set(nice.map((i) => threads[i]?.niceness))], [10]);
  const named = threads.filter(({ name }) => name === 'V8Worker');
  if (named.length > 0) t.strictSame(named, threads.slice(2, 6), 'they are who they are taken for');
});
