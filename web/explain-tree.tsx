/**
 * The tree of an expression. If the daemon explains queries (`/api/v1/explain`), each node has what it cost and gave; if
 * not, the parsed tree is shown, with how many series each selector finds.
 */

import { secondsOf } from './address.ts';
import { ask, RequestError } from './api.ts';
import { Busy, Failure, useLoaded } from './parts.tsx';

type Node = Readonly<Record<string, unknown>>;

const CHILDREN = ['children', 'inputs', 'expr', 'param', 'lhs', 'rhs', 'args'];

export function ExplainTree({ expr, end }: { readonly expr: string; readonly end: string }) {
  const { data, error } = useLoaded(`${expr} ${end}`, (signal) => load(expr, end, signal));
  if (error !== '') return <Failure error={error} />;
  if (data === null) return <Busy what="Explaining" />;
  return (
    <div data-tree>
      {data.explained ? null : <p class="soft">How the expression is read:</p>}
      <ul class="tree">
        <TreeNode node={data.root} />
      </ul>
    </div>
  );
}

async function load(query: string, end: string, signal: AbortSignal): Promise<{ root: Node; explained: boolean }> {
  try {
    const { data } = await ask<Node>('explain', { query, time: secondsOf(end) }, signal);
    const root = ['tree', 'plan', 'root'].map((name) => data[name]).find(isNode);
    return { root: root ?? data, explained: true };
  } catch (error) {
    // A daemon without it says 404 in plain text; whatever else is wrong is about the expression.
    if (!(error instanceof RequestError) || error.status !== 404) throw error;
    return { root: (await ask<Node>('parse_query', { query }, signal)).data, explained: false };
  }
}

function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function TreeNode({ node }: { readonly node: Node }) {
  const below = CHILDREN.flatMap((name) => node[name]).filter(isNode);
  return (
    <li>
      <code>{headOf(node)}</code> <span class="soft">{factsOf(node)}</span>
      {below.length === 0 ? null : (
        <ul class="tree">
          {below.map((child, i) => (
            // a node is its place in the tree
            <TreeNode key={i} node={child} />
          ))}
        </ul>
      )}
    </li>
  );
}

function headOf(node: Node): string {
  const { type, kind, op, name, func, text, val, matchers } = node as Record<string, unknown>;
  if (typeof text === 'string') return text;
  const called = isNode(func) ? String(func.name) : '';
  const inside = Array.isArray(matchers)
    ? (matchers as { name: string; type: string; value: string }[])
        .filter((matcher) => matcher.name !== '__name__' || name === '')
        .map((matcher) => `${matcher.name}${matcher.type}${JSON.stringify(matcher.value)}`)
    : [];
  const selector = inside.length === 0 ? String(name ?? '') : `${name ?? ''}{${inside.join(', ')}}`;
  return [type ?? kind, op, called, selector, val].filter((part) => part != null && part !== '').join(' ');
}

/** What else is said of a node, if it is a plain fact. */
function factsOf(node: Node): string {
  if (typeof node.operator === 'string') return explainedFacts(node);
  const shown = new Set(['type', 'kind', 'op', 'name', 'text', 'val', 'start', 'end', ...CHILDREN]);
  const facts: string[] = [];
  for (const [name, value] of Object.entries(node)) {
    if (shown.has(name) || value === null || value === false || value === 0 || value === '') continue;
    if (typeof value === 'number' && (name === 'range' || name === 'offset' || name === 'step'))
      facts.push(`${name} ${value / 1000} s`);
    else if (typeof value !== 'object') facts.push(`${name} ${value}`);
    else if (name === 'grouping' && Array.isArray(value) && value.length > 0)
      facts.push(`${node.without === true ? 'without' : 'by'} (${value.join(', ')})`);
    else if (name === 'matching' && isNode(value)) facts.push(`${value.card} on (${String(value.labels)})`);
  }
  return facts.join(' · ');
}

/** What the daemon says of a node that it explained. */
function explainedFacts({ operator, type, steps, stepInvariant, sharedWith, selection }: Node): string {
  const facts = [String(operator), String(type)];
  if (typeof steps === 'number' && steps > 1) facts.push(`${steps} steps`);
  if (stepInvariant === true) facts.push('computed once');
  if (typeof sharedWith === 'number') facts.push(`as node ${sharedWith}`);
  if (isNode(selection)) facts.push(`${selection.series} series, at most ${selection.samplesMax} samples`);
  return facts.join(' · ');
}
