/**
 * The scope of a question: the namespaces that whoever asks may see. It becomes part of every selection of the store,
 * implicit ones included, and of the key of everything that is cached or recorded.
 */
import { type Labels, labelValue } from './labels.ts';

/** Namespaces in ascending order, or null for all of them. */
export type Scope = readonly string[] | null;

export const SCOPE_ALL: Scope = null;

/** The label whose value is a series' namespace, in order of precedence: the first that is present decides. */
export const NAMESPACE_LABELS = ['namespace', 'k8s_namespace_name', 'k8s.namespace.name'] as const;

/** True if a series with these labels may be seen under the scope. A series without a namespace is seen under `all` only. */
export function inScope(labels: Labels, scope: Scope): boolean {
  if (scope === null) return true;
  for (const name of NAMESPACE_LABELS) {
    const namespace = labelValue(labels, name);
    if (namespace !== '') return scope.includes(namespace);
  }
  return false;
}
