-- Says whom rspamd takes for the authors of messages: each line of the input is
-- a message in base64, each line of the output a JSON list of addresses, or null
-- where no From field was found.
local rspamd_task = require "rspamd_task"
local rspamd_util = require "rspamd_util"
local ucl = require "ucl"

for line in io.lines() do
  local ok, task = rspamd_task.load_from_string(tostring(rspamd_util.decode_base64(line)), rspamd_config)
  if not ok then
    print("[]")
  else
    task:process_message()
    local out = {}
    for _, a in ipairs(task:get_from("mime") or {}) do
      out[#out + 1] = a.addr or ""
    end
    if not task:get_header("From") then
      print("null")
    elseif #out == 0 then
      print("[]")
    else
      print(ucl.to_format(out, "json-compact"))
    end
    task:destroy()
  end
end
