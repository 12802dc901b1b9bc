/** The guard of gRPC ports: a call is refused before its message is taken, and its method learns who it is from. */
import type { Socket } from 'node:net';
import type { Role } from '../../model/access.ts';
import { certificateOf, type Guard, type Identity, NOBODY } from '../guard.ts';
import type { RequestHead } from './connection.ts';

/** Who calls; throws `unauthenticated` or `forbidden`. */
export type AdmitCall = (head: RequestHead, socket: Socket) => Identity;

/** Asks the guard about calls of services whose paths begin so; all others are open. */
export function callAdmission(guard: Guard, role: Role, pathPrefix = '/'): AdmitCall {
  return ({ path, authorization }, socket) =>
    path.startsWith(pathPrefix)
      ? guard.admit(role, {
          authorization: authorization === '' ? undefined : authorization,
          certificate: () => certificateOf(socket),
        })
      : NOBODY;
}
