/**
 * gRPC server reflection (v1 and v1alpha), so that generic clients such as grpcurl and `buf curl` can call the port
 * without the .proto file. The descriptors are built from a table of the messages' fields.
 * Source: grpc/grpc, src/proto/grpc/reflection/v1/reflection.proto; protobuf's descriptor.proto.
 */
import protobuf from 'protobufjs/minimal.js';
import { GRPC } from '../../model/errors.ts';
import type { GrpcFault, Method } from '../grpc/server.ts';

/** Both versions of the service, which differ in their names alone. */
export function reflectionMethods(): readonly (readonly [path: string, method: Method])[] {
  return ['v1', 'v1alpha'].map((version) => [
    `/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`,
    { kind: 'echo_stream', answer: answerOrRefuse },
  ]);
}

function answerOrRefuse(request: Buffer): Buffer {
  try {
    return answer(request);
  } catch {
    const fault: GrpcFault = { code: GRPC.invalidArgument, details: 'cannot decode ServerReflectionRequest' };
    throw fault;
  }
}

const bytesTag = (field: number): number => (field << 3) | 2;
const varintTag = (field: number): number => field << 3;

/** ServerReflectionRequest: a oneof of what is asked for, each a string. */
const ASKED = { fileByFilename: 3, fileContainingSymbol: 4, listServices: 7 } as const;

function answer(request: Buffer): Buffer {
  const reader = protobuf.Reader.create(request);
  let field = 0;
  let text = '';
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    if ((tag & 7) !== 2) reader.skipType(tag & 7);
    else if (tag >>> 3 >= 3) {
      field = tag >>> 3;
      text = reader.string();
    } else reader.skipType(2);
  }
  const writer = protobuf.Writer.create();
  // ServerReflectionResponse: 2 original_request, 4 file_descriptor_response, 6 list_services_response, 7 error_response
  writer.uint32(bytesTag(2)).bytes(request);
  const file = fileOf(field, text);
  if (field === ASKED.listServices) {
    writer.uint32(bytesTag(6)).fork();
    for (const { name } of SERVICES) writer.uint32(bytesTag(1)).fork().uint32(bytesTag(1)).string(name).ldelim();
    writer.ldelim();
  } else if (file !== null) {
    writer.uint32(bytesTag(4)).fork().uint32(bytesTag(1)).bytes(file).ldelim();
  } else {
    const message = `not found: ${text.slice(0, 200)}`;
    writer.uint32(bytesTag(7)).fork().uint32(varintTag(1)).int32(GRPC.notFound).uint32(bytesTag(2)).string(message);
    writer.ldelim();
  }
  return Buffer.from(writer.finish());
}

/** The file that is asked for by its name or by a name in it, or null. */
function fileOf(field: number, text: string): Uint8Array | null {
  const found = FILES.find(({ path, package: name }) => {
    if (field === ASKED.fileByFilename) return path === text;
    return field === ASKED.fileContainingSymbol && (text === name || text.startsWith(`${name}.`));
  });
  return found === undefined ? null : encodeFile(found);
}

type FieldType = 'double' | 'int32' | 'int64' | 'bool' | 'string' | `.${string}`;

/** `rep` marks a repeated field. */
type Fields = readonly (readonly [name: string, number: number, type: FieldType, repeated?: 'rep'])[];

interface Message {
  readonly name: string;
  readonly fields: Fields;
  /** The entry message of a map, inside of the message. */
  readonly entry?: Message;
}

interface File {
  readonly path: string;
  readonly package: string;
  readonly messages: readonly Message[];
  readonly service: string;
  /** Request, reply, and whether the reply is a stream. */
  readonly methods: readonly (readonly [name: string, request: string, reply: string, streams?: 'stream'])[];
}

const SCALER_FILE: File = {
  path: 'externalscaler.proto',
  package: 'externalscaler',
  messages: [
    {
      name: 'ScaledObjectRef',
      fields: [
        ['name', 1, 'string'],
        ['namespace', 2, 'string'],
        ['scalerMetadata', 3, '.externalscaler.ScaledObjectRef.ScalerMetadataEntry', 'rep'],
      ],
      entry: {
        name: 'ScalerMetadataEntry',
        fields: [
          ['key', 1, 'string'],
          ['value', 2, 'string'],
        ],
      },
    },
    { name: 'IsActiveResponse', fields: [['result', 1, 'bool']] },
    { name: 'GetMetricSpecResponse', fields: [['metricSpecs', 1, '.externalscaler.MetricSpec', 'rep']] },
    {
      name: 'MetricSpec',
      fields: [
        ['metricName', 1, 'string'],
        ['targetSize', 2, 'int64'],
        ['targetSizeFloat', 3, 'double'],
      ],
    },
    {
      name: 'GetMetricsRequest',
      fields: [
        ['scaledObjectRef', 1, '.externalscaler.ScaledObjectRef'],
        ['metricName', 2, 'string'],
      ],
    },
    { name: 'GetMetricsResponse', fields: [['metricValues', 1, '.externalscaler.MetricValue', 'rep']] },
    {
      name: 'MetricValue',
      fields: [
        ['metricName', 1, 'string'],
        ['metricValue', 2, 'int64'],
        ['metricValueFloat', 3, 'double'],
      ],
    },
  ],
  service: 'ExternalScaler',
  methods: [
    ['IsActive', 'ScaledObjectRef', 'IsActiveResponse'],
    ['StreamIsActive', 'ScaledObjectRef', 'IsActiveResponse', 'stream'],
    ['GetMetricSpec', 'ScaledObjectRef', 'GetMetricSpecResponse'],
    ['GetMetrics', 'GetMetricsRequest', 'GetMetricsResponse'],
    ['StreamMetricSpec', 'ScaledObjectRef', 'GetMetricSpecResponse', 'stream'],
  ],
};

const HEALTH_FILE: File = {
  path: 'grpc/health/v1/health.proto',
  package: 'grpc.health.v1',
  messages: [
    { name: 'HealthCheckRequest', fields: [['service', 1, 'string']] },
    // An enum on the wire is an int32.
    { name: 'HealthCheckResponse', fields: [['status', 1, 'int32']] },
  ],
  service: 'Health',
  methods: [
    ['Check', 'HealthCheckRequest', 'HealthCheckResponse'],
    ['Watch', 'HealthCheckRequest', 'HealthCheckResponse', 'stream'],
  ],
};

const FILES: readonly File[] = [SCALER_FILE, HEALTH_FILE];
const SERVICES = FILES.map((file) => ({ name: `${file.package}.${file.service}` }));

/** Numbers of FieldDescriptorProto.Type. */
const TYPES: Readonly<Record<string, number>> = { double: 1, int64: 3, int32: 5, bool: 8, string: 9 };
const TYPE_MESSAGE = 11;
const LABEL = { optional: 1, repeated: 3 } as const;

/** FileDescriptorProto: 1 name, 2 package, 4 message_type, 6 service, 12 syntax. */
function encodeFile(file: File): Uint8Array {
  const writer = protobuf.Writer.create();
  writer.uint32(bytesTag(1)).string(file.path).uint32(bytesTag(2)).string(file.package);
  for (const message of file.messages) {
    writer.uint32(bytesTag(4)).fork();
    writeMessage(writer, message, false);
    writer.ldelim();
  }
  writer.uint32(bytesTag(6)).fork().uint32(bytesTag(1)).string(file.service);
  for (const [name, request, reply, streams] of file.methods) {
    // MethodDescriptorProto: 1 name, 2 input_type, 3 output_type, 6 server_streaming
    writer.uint32(bytesTag(2)).fork().uint32(bytesTag(1)).string(name);
    writer.uint32(bytesTag(2)).string(`.${file.package}.${request}`);
    writer.uint32(bytesTag(3)).string(`.${file.package}.${reply}`);
    if (streams === 'stream') writer.uint32(varintTag(6)).bool(true);
    writer.ldelim();
  }
  writer.ldelim().uint32(bytesTag(12)).string('proto3');
  return writer.finish();
}

/** DescriptorProto: 1 name, 2 field, 3 nested_type, 7 options { 7 map_entry }. */
function writeMessage(writer: protobuf.Writer, { name, fields, entry }: Message, isMapEntry: boolean): void {
  writer.uint32(bytesTag(1)).string(name);
  for (const [field, number, type, repeated] of fields) {
    // FieldDescriptorProto: 1 name, 3 number, 4 label, 5 type, 6 type_name, 10 json_name
    writer.uint32(bytesTag(2)).fork().uint32(bytesTag(1)).string(field);
    writer.uint32(varintTag(3)).int32(number);
    writer.uint32(varintTag(4)).int32(repeated === 'rep' ? LABEL.repeated : LABEL.optional);
    writer.uint32(varintTag(5)).int32(TYPES[type] ?? TYPE_MESSAGE);
    if (type.startsWith('.')) writer.uint32(bytesTag(6)).string(type);
    writer.uint32(bytesTag(10)).string(field).ldelim();
  }
  if (entry !== undefined) {
    writer.uint32(bytesTag(3)).fork();
    writeMessage(writer, entry, true);
    writer.ldelim();
  }
  if (isMapEntry) writer.uint32(bytesTag(7)).fork().uint32(varintTag(7)).bool(true).ldelim();
}
