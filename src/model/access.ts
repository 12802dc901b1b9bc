/** Words for who may do what, and by which port: what the operator's file says of it (config/web-file.ts). */

/** What somebody may do: send samples, ask queries, ask as KEDA does, and everything else. */
export const ROLES = ['write', 'read', 'scale', 'admin'] as const;
export type Role = (typeof ROLES)[number];

export const PORTS = ['web', 'otlp_grpc', 'otlp_http', 'keda'] as const;
export type PortName = (typeof PORTS)[number];

export interface TlsSettings {
  readonly certFile: string;
  readonly keyFile: string;
  /** '' asks no client for a certificate. */
  readonly clientCaFile: string;
  /** Whether a client without a certificate is let in. */
  readonly isCertificateRequired: boolean;
  readonly minVersion: 'TLSv1.2' | 'TLSv1.3';
}

export interface Named {
  readonly name: string;
  /** Put on each series that it sends, and all that it may ask about; '' for none. */
  readonly namespace: string;
  readonly roles: readonly Role[];
}

/** Known by a bearer token: any line of the file. */
export interface TokenEntry extends Named {
  readonly file: string;
}

/** Known by a certificate; what is '' is not looked at. */
export interface ClientEntry extends Named {
  readonly commonName: string;
  /** One of the certificate's alternative names: a DNS name, an address, an e-mail address or a URI. */
  readonly san: string;
}

/** Who is let in where, and TLS of the ports. */
export interface AccessRules {
  /** Null for plain text. */
  readonly tls: Readonly<Record<PortName, TlsSettings | null>>;
  readonly tokens: readonly TokenEntry[];
  readonly clients: readonly ClientEntry[];
  /** What those may do who show nothing, though others are named for it. */
  readonly anonymous: readonly Role[];
}
