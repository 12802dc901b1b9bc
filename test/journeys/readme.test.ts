/** The commands of README.md do what it says: the tour is run line by line, on free ports instead of the default ones. */
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'tap';
import { startDaemon } from '../support/daemon.ts';
import { runProgram, startProgram, temporaryFolder } from '../support/process.ts';
import { skipWithout } from '../support/real-programs.ts';
import { waitFor } from '../support/wait.ts';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const ANSWER_MS_MAX = 30_000;

/** Lines of the first `sh` block of README.md. */
function tour(): string[] {
  const block = /```sh\n([\s\S]*?)```/.exec(readFileSync(join(root, 'README.md'), 'utf8'))?.[1] ?? '';
  return block.trim().split('\n');
}

test('the tour works', { skip: skipWithout('prometheus', 'promtool', 'kubectl', 'curl') }, async (t) => {
  const lines = tour();
  t.equal(lines.length, 5);
  const [start, agent, ...questions] = lines as [string, string, ...string[]];
  t.match(start, /^npm start -- --config\.file=(\S+) &$/);
  const daemon = await startDaemon([`--config.file=${join(root, /--config\.file=(\S+)/.exec(start)![1]!)}`]);
  t.teardown(() => daemon.stop());
  const here = (text: string): string =>
    text.replaceAll('127.0.0.1:9090', daemon.listen.web).replaceAll('127.0.0.1:6443', daemon.listen.kubernetes);

  const folder = await temporaryFolder();
  t.teardown(() => folder.remove());
  const config = join(folder.path, 'agent.yml');
  await writeFile(config, here(readFileSync(join(root, /--config\.file=(\S+)/.exec(agent)![1]!), 'utf8')));
  const [program, ...flags] = agent
    .replace(/ &$/, '')
    .replace(/--config\.file=\S+/, `--config.file=${config}`)
    .replace('/tmp/agent', join(folder.path, 'agent'))
    .replace('127.0.0.1:9091', '127.0.0.1:0')
    .split(' ');
  const running = await startProgram(program!, flags);
  t.teardown(() => running.stop());

  const wanted = [/"value":\[[\d.]+,"1"\]/, /=> \d/, /"kind":"ExternalMetricValueList".*"metricName":"ingest_rate"/];
  for (const [i, question] of questions.entries()) {
    const answer = await waitFor(async () => wanted[i]!.exec((await runProgram('sh', ['-c', here(question)])).stdout), {
      timeoutMs: ANSWER_MS_MAX,
      what: `an answer to ${question}`,
    });
    t.ok(answer, question);
  }
});
