/** YAML files with manifests in them: documents, lists of `kubectl get -o yaml`, and ConfigMaps that hold an adapter's file. */
import { isMap, isScalar, isSeq, LineCounter, type Node, parseAllDocuments, parseDocument } from 'yaml';
import { CodedError } from '../model/errors.ts';

export interface Manifest {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  /** True for a configuration file of prometheus-adapter, which has no kind. */
  readonly isAdapter: boolean;
  readonly root: Node | null;
  /** The document alone; its lines are those of the file if it is the only one. */
  readonly text: string;
  /** `file:line:column` of a node. */
  readonly at: (node: Node | null | undefined) => string;
}

const ADAPTER_KEYS = ['rules', 'externalRules', 'resourceRules'];

export function documentsOf(path: string, text: string): readonly Manifest[] {
  const lines = new LineCounter();
  const at = (node: Node | null | undefined): string => {
    const { line, col } = lines.linePos(node?.range?.[0] ?? 0);
    return `${path}:${Math.max(1, line)}:${Math.max(1, col)}`;
  };
  const documents = parseAllDocuments(text, { lineCounter: lines, prettyErrors: false });
  return (Array.isArray(documents) ? documents : []).flatMap((document) => {
    const [error] = document.errors;
    if (error !== undefined) {
      const { line, col } = lines.linePos(error.pos[0]);
      throw new CodedError('bad_config', `cannot read ${path}:${line}:${col}: ${error.message}`);
    }
    const own = documents.length === 1 ? text : document.toString();
    return manifestsIn(document.contents as Node | null, own, at);
  });
}

function manifestsIn(root: Node | null, text: string, at: Manifest['at']): readonly Manifest[] {
  const kind = textAt(root, 'kind');
  const items = nodeAt(root, 'items');
  if (kind.endsWith('List') && isSeq<Node>(items)) return items.items.flatMap((item) => manifestsIn(item, text, at));
  const own: Manifest = {
    kind,
    namespace: textAt(root, 'metadata', 'namespace'),
    name: textAt(root, 'metadata', 'name'),
    isAdapter: kind === '' && ADAPTER_KEYS.some((key) => nodeAt(root, key) !== undefined),
    root,
    text,
    at,
  };
  return kind === 'ConfigMap' ? [own, ...embedded(own)] : [own];
}

/** Files in a ConfigMap's data; their lines are counted from where the text stands, which a block text keeps. */
function embedded({ root, at, namespace, name }: Manifest): readonly Manifest[] {
  const data = nodeAt(root, 'data');
  if (!isMap(data)) return [];
  return data.items.flatMap(({ key, value }) => {
    if (!isScalar(value) || typeof value.value !== 'string') return [];
    const inner = parseDocument(value.value);
    const content = inner.contents as Node | null;
    if (inner.errors.length > 0 || !ADAPTER_KEYS.some((word) => nodeAt(content, word) !== undefined)) return [];
    const where = `${at(value as Node)} (${String(key)})`;
    return [{ kind: '', namespace, name, isAdapter: true, root: content, text: value.value, at: () => where }];
  });
}

export function nodeAt(node: Node | null | undefined, ...path: readonly (string | number)[]): Node | undefined {
  let found: Node | null | undefined = node;
  for (const key of path) found = isMap(found) || isSeq(found) ? (found.get(key, true) as Node | undefined) : undefined;
  return found ?? undefined;
}

/** The text of a scalar, or ''. */
export function textAt(node: Node | null | undefined, ...path: readonly (string | number)[]): string {
  const found = nodeAt(node, ...path);
  return isScalar(found) && found.value !== null ? String(found.value) : '';
}

export function itemsAt(node: Node | null | undefined, ...path: readonly (string | number)[]): readonly Node[] {
  const found = nodeAt(node, ...path);
  return isSeq<Node>(found) ? found.items : [];
}

/** Keys and texts of a map of scalars. */
export function pairsAt(
  node: Node | null | undefined,
  ...path: readonly (string | number)[]
): ReadonlyMap<string, string> {
  const found = nodeAt(node, ...path);
  const pairs = new Map<string, string>();
  if (!isMap(found)) return pairs;
  for (const { key, value } of found.items) pairs.set(String(key), isScalar(value) ? String(value.value ?? '') : '');
  return pairs;
}
