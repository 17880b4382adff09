import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.connect.connector.Task;
import org.apache.kafka.connect.data.Schema;
import org.apache.kafka.connect.source.ConnectorTransactionBoundaries;
import org.apache.kafka.connect.source.ExactlyOnceSupport;
import org.apache.kafka.connect.source.SourceConnector;
import org.apache.kafka.connect.source.SourceRecord;
import org.apache.kafka.connect.source.SourceTask;

/**
 * A source connector that writes the numbers from 0 up to `end` to the topic `to`, in transactions of ten. Its offset is the next number. A task
 * that begins at 0 commits nothing from the number `keep` on, says `stalled` at the number `stall.at` and does nothing any more: it waits to be
 * killed. Every task says where it `begins`.
 */
public class Numbers extends SourceConnector {
    private Map<String, String> settings;

    @Override
    public void start(Map<String, String> settings) {
        this.settings = settings;
    }

    @Override
    public Class<? extends Task> taskClass() {
        return Counting.class;
    }

    @Override
    public List<Map<String, String>> taskConfigs(int most) {
        return List.of(settings);
    }

    @Override
    public void stop() {}

    @Override
    public ConfigDef config() {
        return new ConfigDef();
    }

    @Override
    public ExactlyOnceSupport exactlyOnceSupport(Map<String, String> settings) {
        return ExactlyOnceSupport.SUPPORTED;
    }

    @Override
    public ConnectorTransactionBoundaries canDefineTransactionBoundaries(Map<String, String> settings) {
        return ConnectorTransactionBoundaries.SUPPORTED;
    }

    @Override
    public String version() {
        return "1";
    }

    /** Its one task. */
    public static class Counting extends SourceTask {
        /** Numbers that are given at once. */
        private static final int AT_ONCE = 10;

        private String topic;
        private long next;
        private long end;
        private long keep;
        private long stallAt;

        @Override
        public void start(Map<String, String> settings) {
            topic = settings.get("to");
            end = Long.parseLong(settings.get("end"));
            Map<String, Object> offset = context.offsetStorageReader().offset(source());
            next = offset == null ? 0 : (Long) offset.get("next");
            keep = next == 0 ? Long.parseLong(settings.get("keep")) : end;
            stallAt = next == 0 ? Long.parseLong(settings.get("stall.at")) : -1;
            System.out.println("begins " + next);
        }

        @Override
        public List<SourceRecord> poll() throws InterruptedException {
            if (next == stallAt) {
                System.out.println("stalled");
                Thread.sleep(Long.MAX_VALUE);
            }
            List<SourceRecord> numbers = new ArrayList<>();
            while (next < end && next != stallAt && numbers.size() < AT_ONCE) {
                String number = "" + next++;
                numbers.add(new SourceRecord(source(), Map.of("next", next), topic, Schema.STRING_SCHEMA, number));
            }
            if (numbers.isEmpty()) {
                Thread.sleep(100);
            } else if (next <= keep) {
                context.transactionContext().commitTransaction();
            }
            return numbers;
        }

        @Override
        public void stop() {}

        @Override
        public String version() {
            return "1";
        }

        private static Map<String, String> source() {
            return Map.of("source", "numbers");
        }
    }
}
