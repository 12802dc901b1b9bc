import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';
import { caseFiles, main, runFile } from './conformance.ts';

const corpus = process.env.TIDEGAUGE_CONFORMANCE;
const skip = corpus === undefined ? 'TIDEGAUGE_CONFORMANCE does not name the folder of the conformance cases' : false;

test('the published OTLP cases, over sockets', { skip }, async (t) => {
  let cases = 0;
  for (const file of caseFiles([join(corpus ?? '', 'otlp')])) {
    for (const { id, title, failure, overSocket } of await runFile(file)) {
      t.equal(failure, '', `${id} ${title}${overSocket ? '' : ' (without a socket: the daemon sets no namespace)'}`);
      cases++;
    }
  }
  t.ok(cases >= 60);
});

test('from the command line: each failing case is printed, and the exit status is 1', async (t) => {
  const right = { kind: 'metric', id: 'a1', title: 'right', namespace: '', utf8: false, suffixes: true, type: 'Gauge' };
  const one = { ...right, name: 'a.b', unit: 's', want: 'a_b_seconds', wantUnit: 'seconds', error: '' };
  const wrong = { ...one, id: 'b2', title: 'wrong', want: 'a_b' };
  const folder = t.testdir();
  const f = async (cases: readonly object[], status: number, last: string, first: RegExp): Promise<void> => {
    const path = join(folder, 'cases.json');
    writeFileSync(path, JSON.stringify({ cases }));
    const printed = t.capture(console, 'log');
    t.equal(await main([path]), status);
    const lines = printed().map(({ args }) => String(args[0]));
    printed.restore();
    t.equal(lines.at(-1), last);
    t.match(lines.join('\n'), first);
  };
  await f([one], 0, '1 passed, 0 failed', /^(?!FAIL)/);
  await f([one, wrong], 1, '1 passed, 1 failed', /^FAIL b2 wrong\n/);
});
