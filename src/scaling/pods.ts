/**
 * What is known of pods from elsewhere than their samples. Coverage asks it about a sender that has fallen silent: one whose
 * pod is gone leaves at once, one whose pod runs makes the Reading an error, and one that nobody knows of waits for
 * `forgetAfter`. Whoever can tell (a watch of the Kubernetes API) implements {@link PodStates}.
 */

/** `alive`: it is known to run; `deleted`: it has ended or is gone; `unknown`: nobody looks, or not lately. */
export type PodState = 'alive' | 'deleted' | 'unknown';

export interface PodStates {
  /**
   * Called for silent senders only, within a Reading: it answers from memory. The namespace is '' if the series do not
   * say; a source that does not know all pods of a namespace at the moment must answer `unknown`, never `deleted`.
   */
  stateOf(namespace: string, pod: string): PodState;
}

/** Nobody watches pods. */
export const NO_POD_STATES: PodStates = { stateOf: () => 'unknown' };
