-- wrk -s replay.lua URL -- FILE again|once: sends the requests of FILE in order, which stand there byte by byte, each
-- with a NUL behind it. After the last it starts over, or asks for what is not there, so that wrk counts an error.
local requests, at, again = {}, -1, false

function init(args)
  local file = assert(io.open(args[1], "rb"))
  for request in file:read("*a"):gmatch("[^%z]+") do
    requests[#requests + 1] = request
  end
  file:close()
  again = args[2] == "again"
end

function request()
  at = at + 1
  if at > #requests then
    if not again then
      return wrk.format("GET", "/the-requests-ran-out")
    end
    at = 1
  end
  -- wrk asks once before it begins, to see what a request looks like, and never sends that one.
  return requests[math.max(at, 1)]
end
