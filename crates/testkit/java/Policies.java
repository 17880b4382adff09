import java.util.Map;
import java.util.NavigableSet;
import java.util.concurrent.ConcurrentSkipListSet;
import org.apache.kafka.common.errors.PolicyViolationException;
import org.apache.kafka.server.policy.AlterConfigPolicy;
import org.apache.kafka.server.policy.CreateTopicPolicy;

/**
 * Policies of brokers that refuse topics if their names say so, and settings of topics if `retention.ms` does. They print names: of
 * the topic, of one like it, of all topics that anybody has created.
 */
public class Policies {
    /** Topics that were created here. */
    private static final NavigableSet<String> ALL = new ConcurrentSkipListSet<>();

    private Policies() {}

    /** Refuses `name`, in the words that `how` asks for. */
    private static void check(String how, String what, String name) {
        if (how.endsWith("refused-plainly") || how.equals("1001")) {
            throw new PolicyViolationException(what + " of " + name + " is against the policy");
        }
        if (how.endsWith("refused-often") || how.equals("1002")) {
            throw new PolicyViolationException(what + " of '" + name + "' (" + name + ", " + name + "): no");
        }
        if (how.endsWith("refused-with-kin") || how.equals("1003")) {
            throw new PolicyViolationException(what + " of " + name + "-more is no better than that of " + ALL.first());
        }
        if (how.endsWith("refused-with-all") || how.equals("1004")) {
            throw new PolicyViolationException(what + ": there are " + ALL);
        }
        if (how.endsWith("refused-by-mistake") || how.equals("1005")) {
            throw new IllegalStateException(what + " of " + name + " failed among " + ALL);
        }
    }

    /** Of new topics. */
    public static class OfTopics implements CreateTopicPolicy {
        @Override
        public void validate(RequestMetadata request) {
            check(request.topic(), "creation", request.topic());
            ALL.add(request.topic());
        }

        @Override
        public void configure(Map<String, ?> settings) {}

        @Override
        public void close() {}
    }

    /** Of settings. */
    public static class OfConfigs implements AlterConfigPolicy {
        @Override
        public void validate(RequestMetadata request) {
            String how = request.configs().get("retention.ms");
            check(how == null ? "" : how, "setting " + request.configs().keySet(), request.resource().name());
        }

        @Override
        public void configure(Map<String, ?> settings) {}

        @Override
        public void close() {}
    }
}
