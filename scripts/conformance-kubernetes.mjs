// Runs the cases of the Kubernetes metrics APIs over the real surface, with a stand-in for kube-apiserver:
//   npm run conformance:kubernetes -- <files or folders>
import { bundleAndImport } from './lib/bundle.mjs';
import { ensureInstalled } from './lib/setup.mjs';

const paths = process.argv.slice(2);
if (paths.length === 0) {
  console.error('usage: npm run conformance:kubernetes -- <files or folders>');
  process.exit(2);
}
ensureInstalled();
const { main } = await bundleAndImport('test/api/kubernetes/conformance/main.ts', 'conformance-kubernetes');
process.exit(await main(paths));
