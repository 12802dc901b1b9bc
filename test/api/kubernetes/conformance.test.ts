/** The Kubernetes corpora of the folder that TIDEGAUGE_CONFORMANCE names. */
import { basename, join } from 'node:path';
import { test } from 'tap';
import { caseFiles, runFile } from './conformance/main.ts';
import { mismatch } from './conformance/match.ts';

const folder = process.env.TIDEGAUGE_CONFORMANCE;
const skip = folder === undefined ? 'TIDEGAUGE_CONFORMANCE names no folder' : false;

for (const path of folder === undefined ? [] : caseFiles([join(folder, 'kubernetes')])) {
  test(basename(path), async (t) => {
    const results = await runFile(path);
    t.ok(results.length > 20, `${results.length} cases`);
    for (const { id, fault } of results) t.equal(fault, null, id);
  });
}

test('the folder', { skip }, async (t) => {
  t.equal(caseFiles([join(folder!, 'kubernetes')]).length, 5);
});

test('the matchers can fail', async (t) => {
  const f = (want: unknown, got: unknown) => t.not(mismatch(want, got), null, JSON.stringify([want, got]));
  f({ a: 1 }, { a: 2 });
  f([1], [1, 2]);
  f({ a: { $absent: true } }, { a: null });
  f({ $unordered: [1, 1] }, [1, 2]);
  f({ $contains: [3] }, [1, 2]);
  f({ $excludes: [1] }, [1, 2]);
  f({ $each: { a: 1 } }, [{ a: 1 }, {}]);
  f({ $uniqueBy: 'k' }, [{ k: 1 }, { k: 1 }]);
  f({ $length: 0 }, undefined);
  f({ $nothing: 1 }, 1);
});
