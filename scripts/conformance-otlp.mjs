// Runs OTLP cases through real sockets: npm run conformance:otlp -- <files or folders>
import { bundleAndImport } from './lib/bundle.mjs';
import { ensureInstalled } from './lib/setup.mjs';

const paths = process.argv.slice(2);
if (paths.length === 0) {
  console.error('usage: npm run conformance:otlp -- <files or folders>');
  process.exit(2);
}
ensureInstalled();
const { buildKernel } = await import('./build-kernel.mjs');
await buildKernel();
const { main } = await bundleAndImport('test/ingest/otlp/conformance.ts', 'conformance-otlp');
process.exit(await main(paths));
