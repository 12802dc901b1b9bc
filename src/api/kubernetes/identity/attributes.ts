/**
 * What a request is about, in the words of authorization. Source: kubernetes/apiserver,
 * pkg/endpoints/request/requestinfo.go.
 */
import type { Requirement } from '../label-selector.ts';

export interface ResourceAttributes {
  readonly kind: 'resource';
  readonly verb: string;
  readonly group: string;
  readonly version: string;
  /** '' outside of a namespace. */
  readonly namespace: string;
  readonly resource: string;
  readonly subresource: string;
  readonly name: string;
}

export interface PathAttributes {
  readonly kind: 'path';
  readonly verb: string;
  readonly path: string;
}

export type Attributes = ResourceAttributes | PathAttributes;

const VERBS: Readonly<Record<string, string>> = {
  GET: 'get',
  HEAD: 'get',
  POST: 'create',
  PUT: 'update',
  PATCH: 'patch',
  DELETE: 'delete',
};

/** `segments` are those of the path, each decoded after splitting. */
export function attributesOf(method: string, segments: readonly string[], isWatch: boolean): Attributes {
  const [root, group, version, ...rest] = segments;
  const verb = VERBS[method] ?? method.toLowerCase();
  if (root !== 'apis' || group === undefined || version === undefined || rest.length === 0) {
    return { kind: 'path', verb: method.toLowerCase(), path: `/${segments.join('/')}` };
  }
  let parts: readonly string[] = rest;
  let namespace = '';
  if (parts[0] === 'namespaces' && parts.length > 1) {
    namespace = parts[1]!;
    if (parts.length > 2 && parts[2] !== 'status' && parts[2] !== 'finalize') parts = parts.slice(2);
  }
  const [resource = '', name = '', subresource = ''] = parts;
  const many = name === '' && verb === 'get' ? (isWatch ? 'watch' : 'list') : verb;
  return { kind: 'resource', verb: many, group, version, namespace, resource, subresource, name };
}

/** The same for a review. */
export function reviewAttributes(attributes: Attributes, selector: readonly Requirement[]): object {
  if (attributes.kind === 'path') {
    return { nonResourceAttributes: { path: attributes.path, verb: attributes.verb } };
  }
  const { kind: _, ...fields } = attributes;
  const filled = Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== ''));
  const isOfMany = attributes.verb === 'list' || attributes.verb === 'watch';
  const requirements = isOfMany ? selector.flatMap(reviewRequirement) : [];
  const labelSelector = requirements.length === 0 ? {} : { labelSelector: { requirements } };
  return { resourceAttributes: { ...filled, ...labelSelector } };
}

function reviewRequirement({ key, operator, values }: Requirement): object[] {
  switch (operator) {
    case 'exists':
      return [{ key, operator: 'Exists' }];
    case 'absent':
      return [{ key, operator: 'DoesNotExist' }];
    case '=':
    case 'in':
      return [{ key, operator: 'In', values }];
    case '!=':
    case 'notin':
      return [{ key, operator: 'NotIn', values }];
    default:
      return [];
  }
}
