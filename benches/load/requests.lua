-- Arguments after "--": depth, method, body. Prints what it counted as one line of JSON at the end.

local batch

function init(args)
  local depth = tonumber(args[1])
  wrk.method = args[2]
  if args[3] and args[3] ~= "" then wrk.body = args[3] end
  batch = string.rep(wrk.format(), depth)
end

function request()
  return batch
end

function done(summary, latency, requests)
  io.write(string.format(
    '\nCOUNTED {"requests":%d,"microseconds":%d,"bytes":%d,"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d,"p99":%d}\n',
    summary.requests, summary.duration, summary.bytes, summary.errors.connect, summary.errors.read,
    summary.errors.write, summary.errors.status, summary.errors.timeout, latency:percentile(99)))
end
