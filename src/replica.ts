/**
 * The other end of api/replica.ts: a daemon that begins with nothing takes the image of its peer before it listens. Whatever
 * comes of it, it starts: what it could not take it says, and its answers warm up as after any start.
 */
import { createWriteStream } from 'node:fs';
import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { LIMITS } from './model/limits.ts';

export interface PeerOptions {
  /** Its web port; from the operator's flags or files only. */
  readonly url: string;
  /** '' shows none. */
  readonly token: string;
  /** PEM; '' for those that Node trusts, and for no certificate of our own. */
  readonly caPem: string;
  readonly certPem: string;
  readonly keyPem: string;
}

/**
 * `taken`: the file is there. `empty`: the peer has nothing either. `unreachable`: nobody answers. `refused`: somebody does, and
 * does not give it, or not to its end.
 */
export type TakenFromPeer = { readonly kind: 'taken' | 'empty' | 'unreachable' | 'refused'; readonly reason: string };

const TRIES = 3;
const TRY_MS = 1000;
const PATH = '/api/v1/replica/image';

/** Writes the peer's image to a file, which is there only if it came to its end. */
export async function takeFromPeer(peer: PeerOptions, path: string): Promise<TakenFromPeer> {
  let outcome: TakenFromPeer = { kind: 'unreachable', reason: '' };
  for (let i = 0; i < TRIES; i++) {
    if (i > 0) await sleep(TRY_MS);
    outcome = await tryOnce(peer, path);
    // One that starts, or that is taking an image, may answer in a moment.
    if (outcome.kind !== 'unreachable' && outcome.reason !== BUSY) return outcome;
  }
  return outcome;
}

const BUSY = 'the peer answers 503';

async function tryOnce(peer: PeerOptions, path: string): Promise<TakenFromPeer> {
  let isAnswered = false;
  try {
    const response = await get(peer);
    isAnswered = true;
    if (response.statusCode === 204) return { kind: 'empty', reason: 'the peer has nothing either' };
    if (response.statusCode !== 200) {
      response.destroy();
      return { kind: 'refused', reason: `the peer answers ${response.statusCode}` };
    }
    await pipeline(response, createWriteStream(path));
    return { kind: 'taken', reason: '' };
  } catch (error) {
    return {
      kind: isAnswered ? 'refused' : 'unreachable',
      reason: error instanceof Error ? error.message : String(error),
    };
  }
}

function get({ url, token, caPem, certPem, keyPem }: PeerOptions): Promise<import('node:http').IncomingMessage> {
  const target = new URL(PATH, url);
  const options = {
    headers: token === '' ? {} : { authorization: `Bearer ${token}` },
    // Of all that it takes, so a peer that falls silent in the middle holds up nobody for longer.
    signal: AbortSignal.timeout(LIMITS.replicaImageMsMax),
    agent: false,
    ...(caPem === '' ? {} : { ca: caPem }),
    ...(certPem === '' ? {} : { cert: certPem, key: keyPem }),
  } as const;
  return new Promise((resolve, reject) => {
    const ask = target.protocol === 'https:' ? requestHttps : requestHttp;
    const request = ask(target, options, (response) => {
      clearTimeout(timer);
      resolve(response);
    });
    const giveUp = (): unknown => request.destroy(new Error('the peer does not answer'));
    const timer = setTimeout(giveUp, LIMITS.replicaAnswerMsMax);
    request
      .once('error', (error) => {
        clearTimeout(timer);
        reject(error);
      })
      .end();
  });
}
