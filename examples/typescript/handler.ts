// A handler for Layby over HTTP, in TypeScript on Node: it takes payments.
//
//     npm ci && npx tsc && node handler.js 8000
//
// and in layby.yaml:
//
//     routes: [{type: "*", webhook: {url: "http://localhost:8000/events", timeout: 5s}}]

import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

type Answer = { status: number; headers?: Record<string, string>; body?: string };

const taken = new Map<string, number>(); // by Layby-Position: an event can come again, and must not be charged twice
const newest = new Map<string, number>(); // the highest fencing token, by partition: an owner that was replaced is refused

function problem(status: number, title: string, headers: Record<string, string> = {}): Answer {
  return { status, headers: { "Content-Type": "application/problem+json", ...headers }, body: JSON.stringify({ title }) };
}

/** The verdict on the event. */
function take(position: string, token: number, value: string): Answer {
  const partition = position.slice(0, position.lastIndexOf("@"));
  if (token < (newest.get(partition) ?? 0)) return problem(409, "another member owns this partition by now");
  newest.set(partition, token);
  if (taken.has(position)) return { status: 204 }; // done before
  let payment: { amount?: unknown; card?: unknown };
  try {
    payment = JSON.parse(value);
  } catch {
    payment = {};
  }
  if (typeof payment?.amount !== "number" || typeof payment.card !== "string") {
    return problem(422, "this is no payment"); // no attempt will succeed: a dead letter
  }
  if (payment.card === "expired") return problem(409, "the card has expired", { "Layby-Verdict": "needs-correction" });
  if (payment.card === "bank down") return problem(503, "the bank does not answer", { "Retry-After": "1" }); // tried again
  taken.set(position, payment.amount);
  return { status: 204 };
}

const server = createServer((request, response) => {
  const parts: Buffer[] = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    const { status, headers, body } = take(
      String(request.headers["layby-position"]),
      Number(request.headers["layby-fencing-token"]),
      Buffer.concat(parts).toString(),
    );
    response.writeHead(status, headers).end(body);
  });
});

server.listen(Number(process.argv[2] ?? 8000), "127.0.0.1", () => {
  console.log(`listening on ${(server.address() as AddressInfo).port}`);
});
