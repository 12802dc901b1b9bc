// Runs parse cases (JSON) against the parser, the printers and the scanner:
//   npm run conformance:parse -- <files.json>
import { bundleAndImport } from './lib/bundle.mjs';
import { ensureInstalled } from './lib/setup.mjs';

const paths = process.argv.slice(2);
if (paths.length === 0) {
  console.error('usage: npm run conformance:parse -- <files.json>');
  process.exit(2);
}
ensureInstalled();
const { main } = await bundleAndImport('test/promql/parse-cases.ts', 'conformance-parse');
process.exit(await main(paths));
