import { join } from 'node:path';
import { test } from 'tap';
import { caseFiles, runFile } from './conformance.ts';

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
