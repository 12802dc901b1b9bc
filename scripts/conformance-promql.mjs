// Runs files of Prometheus' test language over the real store and engine:
//   npm run conformance:promql -- <files or folders>
import { bundleAndImport } from './lib/bundle.mjs';
import { ensureInstalled } from './lib/setup.mjs';

const paths = process.argv.slice(2);
if (paths.length === 0) {
  console.error('usage: npm run conformance:promql -- <files or folders>');
  process.exit(2);
}
ensureInstalled();
const { main } = await bundleAndImport('test/promql/conformance.ts', 'conformance-promql');
process.exit(await main(paths));
