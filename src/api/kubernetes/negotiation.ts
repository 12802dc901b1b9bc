/**
 * The `Accept` header: clauses in order of q, among equals those without a wildcard first, and then as written; one whose
 * parameters an endpoint cannot fulfil is passed over. No header means JSON. Source: kubernetes/apiserver, pkg/endpoints/handlers/negotiation.
 */
import { StatusError } from './status.ts';

/** What a client can be given: plain objects, tables for kubectl, or the aggregated form of discovery. */
export type Representation = 'json' | 'table' | 'aggregated';

/** Without a charset and blanks: Kubernetes 1.26 compares this text. */
export const AGGREGATED_TYPE = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList';

const CLAUSES_MAX = 64;

/** The first representation that is offered and accepted; throws 406. */
export function negotiate(accept: string | undefined, offered: readonly Representation[]): Representation {
  if (accept === undefined || accept.trim() === '') return 'json';
  for (const clause of parseAccept(accept)) {
    const representation = representationOf(clause);
    if (representation !== null && offered.includes(representation)) return representation;
  }
  throw new StatusError(406, 'NotAcceptable', 'only the following media types are accepted: application/json');
}

interface Clause {
  /** Lower case, without parameters. */
  readonly type: string;
  readonly parameters: ReadonlyMap<string, string>;
  readonly quality: number;
}

function parseAccept(accept: string): Clause[] {
  const clauses = accept.split(',').slice(0, CLAUSES_MAX).map(parseClause);
  return clauses
    .filter(({ quality }) => quality > 0)
    .sort((a, b) => b.quality - a.quality || wildcards(a) - wildcards(b));
}

function wildcards({ type }: Clause): number {
  return type.split('*').length - 1;
}

function parseClause(text: string): Clause {
  const [type = '', ...rest] = text.split(';').map((part) => part.trim());
  const parameters = new Map<string, string>();
  for (const part of rest) {
    const equals = part.indexOf('=');
    if (equals > 0) parameters.set(part.slice(0, equals).trim(), part.slice(equals + 1).trim());
  }
  const quality = Number(parameters.get('q') ?? 1);
  return { type: type.toLowerCase(), parameters, quality: Number.isNaN(quality) ? 1 : quality };
}

function representationOf({ type, parameters }: Clause): Representation | null {
  if (type !== 'application/json' && type !== 'application/*' && type !== '*/*') return null;
  const as = parameters.get('as');
  const group = parameters.get('g');
  const version = parameters.get('v');
  if (as === undefined) return group === undefined && version === undefined ? 'json' : null;
  if (as === 'Table' && group === 'meta.k8s.io' && version === 'v1') return 'table';
  if (as === 'APIGroupDiscoveryList' && group === 'apidiscovery.k8s.io' && version === 'v2') return 'aggregated';
  return null;
}
