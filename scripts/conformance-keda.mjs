// Runs cases of KEDA's and Kedify's behaviour through real sockets: OTLP in, gRPC and HTTP out.
//   npm run conformance:keda -- <files or folders>
import { bundleAndImport } from './lib/bundle.mjs';
import { ensureInstalled } from './lib/setup.mjs';

const paths = process.argv.slice(2);
if (paths.length === 0) {
  console.error('usage: npm run conformance:keda -- <files or folders>');
  process.exit(2);
}
ensureInstalled();
const { main } = await bundleAndImport('test/api/keda/conformance.ts', 'conformance-keda');
process.exit(await main(paths));
