/**
 * What the examples of the documentation find: an API worker's surroundings. `server-examples.spec.mjs` provides it.
 */
interface ExampleStatement {
	bind(...values: unknown[]): ExampleStatement;
	run(): Promise<unknown>;
	all<Row = Record<string, unknown>>(): Promise<{ results: Row[] }>;
}

declare const env: {
	readonly REALTIME_URL: string;
	readonly ACCESS_TOKEN: string;
	readonly DB: { prepare(sql: string): ExampleStatement; batch(statements: ExampleStatement[]): Promise<unknown> };
};
declare const ctx: { waitUntil(promise: Promise<unknown>): void };
declare const orgId: string;

declare module "node:sqlite" {
	export class DatabaseSync {
		constructor(path: string);
		exec(sql: string): void;
		prepare(sql: string): { all(...values: unknown[]): object[]; run(...values: unknown[]): unknown };
	}
}
