/**
 * KEDA as it behaves towards an external scaler, without a cluster: its messages (by protobufjs' reflection on the
 * contract's .proto, so nothing is shared with the server's codec) and what it makes of the answers.
 * Source: kedacore/keda, pkg/scalers/external_scaler.go and pkg/scaling/scale_handler.go.
 */
import { existsSync, readFileSync } from 'node:fs';
import { type ChannelCredentials, Client, credentials, type ServiceError } from '@grpc/grpc-js';
import protobuf from 'protobufjs';

export interface Trigger {
  readonly namespace: string;
  readonly name: string;
  readonly metadata: Readonly<Record<string, string>>;
}

export interface MetricSpec {
  readonly metricName: string;
  readonly targetSize: bigint;
  readonly targetSizeFloat: number;
}

export interface MetricValue {
  readonly metricName: string;
  readonly metricValue: bigint;
  readonly metricValueFloat: number;
}

export interface OpenStream {
  readonly messages: readonly Readonly<Record<string, unknown>>[];
  /** The status that the stream ended with. */
  readonly ended: Promise<number>;
  cancel(): void;
}

export interface FollowOptions {
  readonly isOver: () => boolean;
  readonly sleep: (ms: number) => Promise<void>;
  /** Called for each message. */
  readonly onActive: () => void;
}

const FOLLOW_MS_MIN = 2000;
const FOLLOW_MS_MAX = 60_000;

/** What one poll of KEDA ends in. */
export type Poll =
  | {
      readonly kind: 'value';
      readonly hpaMetric: string;
      readonly targetMilli: number;
      readonly milli: number;
      readonly active: boolean;
    }
  | { readonly kind: 'error'; readonly grpcCode: number; readonly message: string };

/** From here, or from the bundle in build/ that this file may be part of. */
const file = ['../../', '../']
  .map((root) => new URL(`${root}src/api/keda/external-scaler.proto`, import.meta.url))
  .find((url) => existsSync(url))!;
const contract = protobuf.parse(readFileSync(file, 'utf8'), { keepCase: true }).root.lookup('externalscaler');
const SERVICE = 'externalscaler.ExternalScaler';

export class KedaClient {
  readonly #client: Client;

  constructor(address: string, channel: ChannelCredentials = credentials.createInsecure()) {
    this.#client = new Client(address, channel);
  }

  async getMetricSpec(trigger: Trigger): Promise<readonly MetricSpec[]> {
    const reply = await this.#call('GetMetricSpec', 'ScaledObjectRef', refOf(trigger), 'GetMetricSpecResponse');
    return (reply.metricSpecs as Item[]).map((item) => ({
      metricName: item.metricName as string,
      targetSize: BigInt(String(item.targetSize)),
      targetSizeFloat: item.targetSizeFloat as number,
    }));
  }

  async getMetrics(trigger: Trigger, metricName: string): Promise<readonly MetricValue[]> {
    const request = { scaledObjectRef: refOf(trigger), metricName };
    const reply = await this.#call('GetMetrics', 'GetMetricsRequest', request, 'GetMetricsResponse');
    return (reply.metricValues as Item[]).map((item) => ({
      metricName: item.metricName as string,
      metricValue: BigInt(String(item.metricValue)),
      metricValueFloat: item.metricValueFloat as number,
    }));
  }

  async isActive(trigger: Trigger): Promise<boolean> {
    return (await this.#call('IsActive', 'ScaledObjectRef', refOf(trigger), 'IsActiveResponse')).result as boolean;
  }

  /** Messages of a server stream until it ends; rejects if it ends with an error. */
  stream(method: 'StreamIsActive' | 'StreamMetricSpec', trigger: Trigger): Promise<number> {
    return this.streamBytes(`/${SERVICE}/${method}`, encode('ScaledObjectRef', refOf(trigger)), () => {});
  }

  /** An open server stream: `messages` grows as they come. */
  open(method: 'StreamIsActive' | 'StreamMetricSpec', trigger: Trigger, onMessage: () => void = () => {}): OpenStream {
    const identity = (bytes: Buffer): Buffer => bytes;
    const request = Buffer.from(encode('ScaledObjectRef', refOf(trigger)));
    const call = this.#client.makeServerStreamRequest(`/${SERVICE}/${method}`, identity, identity, request);
    const messages: Item[] = [];
    const type = lookUpType(method === 'StreamIsActive' ? 'IsActiveResponse' : 'GetMetricSpecResponse');
    call.on('data', (bytes: Buffer) => {
      messages.push(type.toObject(type.decode(bytes), { longs: String, defaults: true, arrays: true }));
      onMessage();
    });
    const ended = new Promise<number>((resolve) => {
      call.on('end', () => resolve(0));
      call.on('error', (error) => resolve((error as ServiceError).code));
    });
    return { messages, ended, cancel: () => call.cancel() };
  }

  /** One poll of trigger 0: the specification, then the pair of calls, repeated once at once if it fails. */
  async poll(trigger: Trigger): Promise<Poll> {
    try {
      const [spec] = await this.getMetricSpec(trigger);
      const hpaMetric = `s0-${spec!.metricName}`;
      const target = spec!.targetSizeFloat > 0 ? spec!.targetSizeFloat : Number(spec!.targetSize);
      const pair = () => this.#pair(trigger, hpaMetric.slice('s0-'.length));
      const { value, active } = await pair().catch(pair);
      return { kind: 'value', hpaMetric, targetMilli: toMilli(target), milli: toMilli(value), active };
    } catch (error) {
      const { code, details } = error as ServiceError;
      return { kind: 'error', grpcCode: code, message: details };
    }
  }

  /**
   * The loop of a trigger of type external-push until `isOver`: the stream again after 2 s, twice as long each time up to a
   * minute, and 2 s anew only if the server ended it with OK.
   */
  async follow(trigger: Trigger, { isOver, sleep, onActive }: FollowOptions): Promise<void> {
    let waitMs = FOLLOW_MS_MIN;
    while (!isOver()) {
      const stream = this.open('StreamIsActive', trigger, () => onActive());
      if ((await stream.ended) === 0) waitMs = FOLLOW_MS_MIN;
      await sleep(waitMs);
      waitMs = Math.min(waitMs * 2, FOLLOW_MS_MAX);
    }
  }

  /** A unary call with bytes of the caller's own. */
  callBytes(path: string, request: Uint8Array): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const identity = (bytes: Buffer): Buffer => bytes;
      const deadline = Date.now() + CALL_MS_MAX;
      this.#client.makeUnaryRequest(path, identity, identity, Buffer.from(request), { deadline }, (error, reply) => {
        if (error === null) resolve(reply!);
        else reject(error);
      });
    });
  }

  /** A server stream with bytes of the caller's own; resolves to the number of messages. */
  streamBytes(path: string, request: Uint8Array, onMessage: (bytes: Buffer) => void): Promise<number> {
    return new Promise((resolve, reject) => {
      const identity = (bytes: Buffer): Buffer => bytes;
      const call = this.#client.makeServerStreamRequest(path, identity, identity, Buffer.from(request));
      let count = 0;
      call.on('data', (bytes: Buffer) => {
        count++;
        onMessage(bytes);
      });
      call.on('end', () => resolve(count));
      call.on('error', reject);
    });
  }

  close(): void {
    this.#client.close();
  }

  async #pair(trigger: Trigger, metricName: string): Promise<{ readonly value: number; readonly active: boolean }> {
    const values = await this.getMetrics(trigger, metricName);
    // The HPA adds up whatever is stored under the name.
    const value = values.reduce(
      (sum, one) => sum + (one.metricValueFloat > 0 ? one.metricValueFloat : Number(one.metricValue)),
      0,
    );
    return { value, active: await this.isActive(trigger) };
  }

  async #call(method: string, requestType: string, request: Item, replyType: string): Promise<Item> {
    const reply = await this.callBytes(`/${SERVICE}/${method}`, encode(requestType, request));
    const type = lookUpType(replyType);
    return type.toObject(type.decode(reply), { longs: String, defaults: true, arrays: true });
  }
}

type Item = Record<string, unknown>;

/** KEDA itself waits for ever. */
const CALL_MS_MAX = 10_000;

function refOf({ namespace, name, metadata }: Trigger): Item {
  return { namespace, name, scalerMetadata: metadata };
}

function encode(type: string, message: Item): Uint8Array {
  return lookUpType(type).encode(lookUpType(type).fromObject(message)).finish();
}

function lookUpType(name: string): protobuf.Type {
  return (contract as protobuf.Namespace).lookupType(name);
}

/** KEDA writes quantities with three decimals, and 0 for what it cannot write or takes for nonsense (2.20.2). */
export function toMilli(value: number): number {
  if (!Number.isFinite(value) || value < 0) return 0;
  return Math.round(Number(value.toFixed(3)) * 1000);
}
